"""The streaming endpoints of copilot chats: send, resume, stop, and the inbox, whose run begins on the event loop."""

from __future__ import annotations

from chat.api.stream import Answer, Asked, Streamed, asgi, streamed
from chat.api.turns import shown
from chat.errors import InvalidInput, TurnNotFound
from chat.protocol.copilot import SaidBody, SendBody, StopBody
from chat.protocol.requests import checked_name, parse
from chat.store.chats import read_chat
from chat.store.copilot_turns import turn_of_stream
from chat.store.crossing import in_thread
from chat.turns.copilot import chat_uuid, start_copilot_turn, start_inbox_turn
from chat.turns.stop import stop_conversation


@asgi("POST")
async def send_message(asked: Asked) -> Streamed:
    """``POST /api/copilot/chat``: begin a turn, or join the one that this retry means, and stream it."""
    return await streamed(asked, await start_copilot_turn(asked.asker, parse(asked.body, SendBody)))


@asgi("GET")
async def resume(asked: Asked) -> Answer | Streamed:
    """``GET /api/copilot/chat/stream?streamId=&after=``: a live turn from its start, or what follows a cursor; 204 when
    it has ended and no cursor is given. One that waits for decisions is told so far: its answer is not in the history.
    """
    if not (given := asked.query.get("streamId")):
        raise InvalidInput("streamId", "streamId is needed: the id of the user message.")
    cursor = asked.after()
    turn = await in_thread(turn_of_stream, asked.asker, checked_name(given[-1], "streamId"))
    if cursor is not None:
        if cursor.turn != turn.pk:
            raise TurnNotFound
        return await streamed(asked, turn, cursor.seq)
    return await streamed(asked, turn) if turn.busy else Answer(204)


@asgi("POST")
async def stop(asked: Asked) -> Answer:
    """``POST /api/copilot/chat/stop``: 202 with the turn that is asked to stop, 200 ``idle`` when none is live."""
    body = parse(asked.body, StopBody)
    only = None
    if body.stream_id is not None:
        turn = await in_thread(turn_of_stream, asked.asker, body.stream_id)
        chat, only = turn.conversation, turn.pk
        if body.chat_id is not None and chat_uuid(body.chat_id) != chat:
            raise TurnNotFound
    elif body.chat_id is not None:
        chat = chat_uuid(body.chat_id)
        await in_thread(read_chat, asked.asker, chat)
    else:
        raise InvalidInput("chatId", "chatId or streamId says what is to stop.")
    stopped = await stop_conversation(asked.asker, chat, only=only)
    return Answer(200, {"status": "idle"}) if stopped is None else Answer(202, {"status": "stopping", "turn": stopped})


@asgi("POST")
async def inbox(asked: Asked, chat_id: str) -> Answer:
    """``POST /api/copilot/chats/{id}/inbox/``: a turn that nobody reads: 202 with the turn as it stands."""
    body = parse(asked.body, SaidBody)
    return Answer(202, shown(await start_inbox_turn(asked.asker, chat_id, body)))

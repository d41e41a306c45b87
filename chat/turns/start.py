"""Begin a turn, or join the one that a retry means."""

from __future__ import annotations

import asyncio
import uuid

from chat import conf
from chat.errors import InvalidInput, ThreadBusy
from chat.protocol.requests import ChatBody, UserMessage, fingerprint, new_user_message
from chat.store.begin import NewUserMessage, begin_turn
from chat.store.crossing import in_thread
from chat.store.messages import read_turn_message
from chat.store.scope import Scope
from chat.store.threads import open_thread
from chat.store.turns import StoredTurn, read_turn
from chat.telemetry import commit
from chat.turns.recover import recover_expired
from chat.turns.run import require_room, start_run
from chat.turns.stop import stop_and_wait

TITLE_CHARS = 80


async def start_turn(scope: Scope, body: ChatBody) -> StoredTurn:
    """Answer a send: rows written and the run begun when this returns, or the turn that the same send began before.

    A busy thread is dealt with as ``on_busy`` says. Without it: a client that has seen the busy turn's question and
    moved on, as an AI SDK client does after its ``stop()``, means the turn to be stopped; any other is refused.

    Raises InvalidInput, ThreadNotFound, TurnConflict, ThreadBusy, ServerFull; then nothing was written.
    """
    if body.trigger != "submit-message":
        raise InvalidInput("trigger", "Only submit-message is known here.")
    if body.message_id is not None:
        raise InvalidInput("messageId", "Only new messages can be sent here.")
    if body.on_busy == "enqueue":
        raise InvalidInput("on_busy", "Only reject and stop are known here.")
    message = new_user_message(body, max_chars=conf.get("MAX_MESSAGE_CHARS"))
    require_room()
    # Shielded: a client that hangs up in this moment must not leave a begun turn without a run.
    return await asyncio.shield(asyncio.ensure_future(_start(scope, body, message)))


async def _start(scope: Scope, body: ChatBody, message: UserMessage) -> StoredTurn:
    try:
        turn = await in_thread(_begin, scope, body, message)
    except ThreadBusy as busy:
        if not await _means_stop(scope, body, busy.details["turn"]):
            raise
        await stop_and_wait(scope, busy.details["turn"])
        turn = await in_thread(_begin, scope, body, message)
    if turn.created:
        start_run(turn)
    return turn


async def _means_stop(scope: Scope, body: ChatBody, busy: int) -> bool:
    if body.on_busy is not None:
        return body.on_busy == "stop"
    turn = await in_thread(read_turn, scope, busy)
    asked = await in_thread(read_turn_message, scope, turn.thread_id, turn.turn_id, "user")
    names = {str(asked.id), asked.client_id, turn.turn_id}
    return any(isinstance(one, dict) and one.get("id") in names for one in body.messages[:-1])


def _begin(scope: Scope, body: ChatBody, message: UserMessage) -> StoredTurn:
    thread_id = open_thread(scope, body.id)
    try:
        return _begin_in(scope, thread_id, body, message)
    except ThreadBusy as busy:
        if not recover_expired(busy.details["turn"]):  # its process is alive
            raise
        return _begin_in(scope, thread_id, body, message)


def _begin_in(scope: Scope, thread_id: uuid.UUID, body: ChatBody, message: UserMessage) -> StoredTurn:
    with commit("begin"):
        return begin_turn(
            scope,
            thread_id,
            turn_id=body.turn_id or message.id or str(uuid.uuid4()),
            fingerprint=fingerprint("submit", message.parts, body.model),
            request=body.model_dump(mode="json", exclude={"messages", "id"}, exclude_none=True),
            user_message=NewUserMessage(parts=message.parts, client_id=message.id),
            model=body.model or "",
            title=title_of(message),
        )


def title_of(message: UserMessage) -> str:
    """A thread's first title: the beginning of its first message, cut between words."""
    text = " ".join(" ".join(part["text"] for part in message.parts if part["type"] == "text").split())
    if len(text) <= TITLE_CHARS:
        return text
    return text[: TITLE_CHARS - 1].rsplit(" ", 1)[0] + "…"

"""Begin a turn in a copilot chat, or join the one that a retry means; and delete a chat with what lives in it."""

from __future__ import annotations

import asyncio
import time
import uuid
from functools import partial
from typing import Any

from chat import conf
from chat.agents.models import require_allowed
from chat.errors import ChatBusy, ChatNotFound, Contention, InvalidInput
from chat.protocol.copilot import SaidBody, SendBody, payload_of, user_content
from chat.store.chats import delete_chat
from chat.store.copilot_turns import NewChat, begin_copilot_turn
from chat.store.crossing import in_thread
from chat.store.scope import Scope
from chat.store.sql import ATTEMPTS
from chat.store.turns import StoredTurn, live_turn, request_stop
from chat.telemetry import commit
from chat.turns.run import begin_soon, ended_as_gone
from chat.turns.runner import itself, runner
from chat.turns.titles import title_of

# Seconds that a turn gets to end before its chat is deleted, and between two looks.
STOP_SECONDS, LOOK = 2.0, 0.02
# Chats that are made by a send are named after it, so that a retry of the send finds the chat that the first one made.
MADE_BY_A_SEND = uuid.UUID("6f0c3ed5-6c6a-4f0e-9d5b-6a3f7d1c2b90")


async def start_copilot_turn(scope: Scope, body: SendBody) -> StoredTurn:
    """Answer a send: the message is written and the run begun when this returns, or it is the turn that the same send
    began before.

    Raises InvalidInput, ChatNotFound, TurnConflict, ChatBusy, ServerFull, Contention; then nothing was written.
    """
    if body.chat_id is not None:
        return await _start(scope, chat_uuid(body.chat_id), body)
    if not body.create_new_chat:
        raise InvalidInput("chatId", "A message is for a chat: chatId names one, createNewChat makes one.")
    name = body.user_message_id or str(uuid.uuid4())
    return await _start(scope, uuid.uuid5(MADE_BY_A_SEND, f"{scope.user_id} {name}"), body, new=True)


async def start_inbox_turn(scope: Scope, chat_id: str, body: SaidBody) -> StoredTurn:
    """The same for a message whose answer nobody waits for: it is in the history when it is done."""
    return await _start(scope, chat_uuid(chat_id), body, trigger="inbox")


def chat_uuid(name: str) -> uuid.UUID:
    """The id of a copilot chat that a client named. Raises ChatNotFound for what can be none."""
    try:
        return uuid.UUID(name)
    except ValueError:
        raise ChatNotFound from None


def stop_and_delete(scope: Scope, chat: uuid.UUID) -> None:
    """Delete a chat. A live turn in it is stopped before, and gets a moment to end, so that its usage is counted. Waits
    for it: not for the event loop. Raises ChatNotFound.
    """
    if request_stop(scope, chat) is not None:
        deadline = time.monotonic() + STOP_SECONDS
        while live_turn(scope, chat) is not None and time.monotonic() < deadline:
            time.sleep(LOOK)
    delete_chat(scope, chat)


async def _start(scope: Scope, chat: uuid.UUID, body: SaidBody, **how: Any) -> StoredTurn:
    require_allowed(body.model, "model")
    said = user_content(body, max_chars=conf.get("MAX_MESSAGE_CHARS"))

    async def start() -> StoredTurn:
        turn = await in_thread(_begin, scope, chat, body, said, **how)
        if turn.created:
            runner().run(turn)
        return turn

    # Shielded: a client that hangs up in this moment must not leave a begun turn without a run.
    return await asyncio.shield(begin_soon(start()))


def _begin(
    scope: Scope,
    chat: uuid.UUID,
    body: SaidBody,
    said: dict[str, Any],
    *,
    new: bool = False,
    trigger: str = "submit",
) -> StoredTurn:
    title = title_of(body.message)
    for _ in range(ATTEMPTS):
        try:
            with commit("begin"):
                begin = partial(
                    begin_copilot_turn,
                    scope,
                    chat,
                    body.user_message_id or str(uuid.uuid4()),
                    said=said,
                    fingerprint=payload_of(body, said),
                    request={"said": said},
                    trigger=trigger,
                    model=body.model or "",
                    default_model=conf.get("MODEL"),
                    title=title,
                    new=NewChat(title, body.model or "") if new else None,
                )
                return runner().begun(begin, itself)
        except ChatBusy as busy:
            if not ended_as_gone(busy.details["turn"]):
                raise
    raise Contention

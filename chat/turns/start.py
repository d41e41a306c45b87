"""Begin a turn, or join the one that a retry means."""

from __future__ import annotations

import asyncio
import uuid

from chat import conf
from chat.errors import InvalidInput
from chat.protocol.requests import ChatBody, UserMessage, fingerprint, new_user_message
from chat.store.begin import NewUserMessage, begin_turn
from chat.store.crossing import in_thread
from chat.store.scope import Scope
from chat.store.threads import open_thread
from chat.store.turns import StoredTurn
from chat.turns.run import require_room, start_run

TITLE_CHARS = 80


async def start_turn(scope: Scope, body: ChatBody) -> StoredTurn:
    """Answer a send: rows written and the run begun when this returns, or the turn that the same send began before.

    Raises InvalidInput, ThreadNotFound, TurnConflict, ThreadBusy, ServerFull; then nothing was written.
    """
    if body.trigger != "submit-message":
        raise InvalidInput("trigger", "Only submit-message is known here.")
    if body.message_id is not None:
        raise InvalidInput("messageId", "Only new messages can be sent here.")
    message = new_user_message(body, max_chars=conf.get("MAX_MESSAGE_CHARS"))
    require_room()
    # Shielded: a client that hangs up in this moment must not leave a begun turn without a run.
    return await asyncio.shield(asyncio.ensure_future(_start(scope, body, message)))


async def _start(scope: Scope, body: ChatBody, message: UserMessage) -> StoredTurn:
    turn = await in_thread(_begin, scope, body, message)
    if turn.created:
        start_run(turn)
    return turn


def _begin(scope: Scope, body: ChatBody, message: UserMessage) -> StoredTurn:
    return begin_turn(
        scope,
        open_thread(scope, body.id),
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

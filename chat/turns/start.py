"""Begin a turn, or join the one that a retry means."""

from __future__ import annotations

import asyncio
import uuid
from functools import partial
from typing import Any

from chat import conf
from chat.agents.models import require_allowed
from chat.errors import Contention, MessageNotFound, ServerFull, ThreadBusy
from chat.models import TurnStatus
from chat.protocol.requests import ChatBody, UserMessage, fingerprint, new_user_message
from chat.store.begin import NewUserMessage, begin_turn_in
from chat.store.crossing import in_thread
from chat.store.messages import read_question
from chat.store.queue import enqueue_turn, queued_turns
from chat.store.quotas import require_quota
from chat.store.scope import Scope
from chat.store.sql import ATTEMPTS
from chat.store.threads import find_thread
from chat.store.turns import StoredTurn, read_turn
from chat.telemetry import commit
from chat.turns.revise import begin_another_answer, begin_edit
from chat.turns.run import begin_soon, ended_as_gone, is_draining
from chat.turns.runner import itself, move_on, runner
from chat.turns.stop import stop_and_wait, stop_conversation
from chat.turns.titles import title_of

Begin = partial[StoredTurn]


async def start_turn(scope: Scope, body: ChatBody) -> StoredTurn:
    """Answer a send: rows written and the run begun when this returns, or the turn that the same send began before, or
    a queued one.

    A busy thread is dealt with as ``on_busy`` says. Without it: a client that has seen the busy turn's question and
    moved on, as an AI SDK client does after its ``stop()``, means the turn to be stopped; any other is refused.

    Raises InvalidInput, ThreadNotFound, TurnConflict, ThreadBusy, QueueFull, QuotaExceeded, ServerFull, Contention;
    then nothing was written.
    """
    require_allowed(body.model, "model")
    if body.trigger == "submit-message":
        message = new_user_message(body, max_chars=conf.get("MAX_MESSAGE_CHARS"))
        begin: Begin = partial(_begin if body.message_id is None else begin_edit, scope, body, message)
    else:
        begin = partial(begin_another_answer, scope, body)
    # Shielded: a client that hangs up in this moment must not leave a begun turn without a run.
    return await asyncio.shield(begin_soon(_start(scope, body, begin)))


async def _start(scope: Scope, body: ChatBody, begin: Begin) -> StoredTurn:
    try:
        turn = await in_thread(begin)
    except ThreadBusy as busy:
        if not await _means_stop(scope, body, busy.details["turn"]):
            raise
        turn = await _begin_instead(scope, begin, busy)
    if turn.status == TurnStatus.QUEUED:
        # Nothing may be busy any more, and whoever ended the last turn may be gone.
        move_on(lambda: [turn.conversation])
    elif turn.created:
        runner().run(turn)
    return turn


async def _begin_instead(scope: Scope, begin: Begin, busy: ThreadBusy) -> StoredTurn:
    """Stop the busy turn and begin this one; before those that wait, where some do. Nothing is stopped for one that
    could not begin.
    """
    await in_thread(require_quota, scope)
    pk = busy.details["turn"]
    stored = await in_thread(read_turn, scope, pk)
    waiting = await in_thread(queued_turns, scope, stored.conversation)
    if waiting or stored.status == TurnStatus.QUEUED:
        if begin.func is not _begin:  # what it revises may be another message by then
            raise busy
        turn = await in_thread(begin, first=True)
        if turn.created and turn.status == TurnStatus.QUEUED:
            await stop_conversation(scope, stored.conversation, only=pk)
        return turn
    await stop_and_wait(scope, pk)
    if is_draining():  # that took a while
        raise ServerFull
    return await in_thread(begin)


async def _means_stop(scope: Scope, body: ChatBody, busy: int) -> bool:
    if body.on_busy is not None:
        return body.on_busy == "stop"
    names = await in_thread(_names_of, scope, busy)
    # A new message is not history; what is edited or answered once more is.
    is_new = body.trigger == "submit-message" and body.message_id is None
    history = body.messages[:-1] if is_new else body.messages
    return any(isinstance(one, dict) and one.get("id") in names for one in history)


def _names_of(scope: Scope, busy: int) -> list[str]:
    """How a client may call the question of a busy turn. No set: what stands as an id in its history may be anything,
    a list as well.
    """
    turn = read_turn(scope, busy)
    if turn.status == TurnStatus.QUEUED:
        return [turn.turn_id]
    try:
        asked = read_question(scope, turn)
    except MessageNotFound:  # another answer where nobody has asked, as an import may begin
        return [turn.turn_id]
    return [turn.turn_id, str(asked.id), asked.client_id or turn.turn_id]


def _begin(scope: Scope, body: ChatBody, message: UserMessage, *, first: bool = False) -> StoredTurn:
    turn_id = body.turn_id or message.id or str(uuid.uuid4())
    wanted: dict[str, Any] = {
        "fingerprint": fingerprint("submit", message.parts, body.model),
        "request": body.model_dump(mode="json", exclude={"messages", "id"}, exclude_none=True),
        "user_message": NewUserMessage(parts=message.parts, client_id=message.id),
        "model": body.model or "",
        "default_model": conf.get("MODEL"),
        "title": title_of(" ".join(part["text"] for part in message.parts if part["type"] == "text")),
    }
    for _ in range(ATTEMPTS):
        try:
            with commit("begin"):
                return runner().begun(partial(begin_turn_in, scope, body.id, turn_id, **wanted), itself)
        except ThreadBusy as busy:
            if ended_as_gone(busy.details["turn"]):
                continue
            if body.on_busy != "enqueue" and not first:
                raise
        thread_id = find_thread(scope, body.id)
        with commit("enqueue"):
            queued = enqueue_turn(scope, thread_id, turn_id, first=first, most=conf.get("MAX_QUEUED_TURNS"), **wanted)
        if queued is not None:
            return queued
        # The busy turn has ended between the two: once more.
    raise Contention

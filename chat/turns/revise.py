"""Begin a turn that revises: an edited question, or another answer."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from chat import conf
from chat.errors import Contention, InvalidInput, MessageNotFound, ThreadBusy
from chat.models import Trigger
from chat.protocol.requests import ChatBody, UserMessage, fingerprint
from chat.store.begin import NewUserMessage, begin_turn
from chat.store.scope import Scope
from chat.store.sql import ATTEMPTS
from chat.store.threads import find_thread
from chat.store.turns import StoredTurn
from chat.store.versions import Found, Revision, answer_of, current_version, message_of
from chat.telemetry import commit
from chat.turns.run import ended_as_gone
from chat.turns.runner import itself, runner


def begin_edit(scope: Scope, body: ChatBody, message: UserMessage) -> StoredTurn:
    """Put an edited message, and a turn that answers it, in the place of the version there is.

    Without a turn id the turn is named after the message, the version that is edited and the new text: a retry finds
    it. When the version there is was itself made by this very edit, that is its retry. Raises InvalidInput,
    ThreadNotFound, MessageNotFound, TurnConflict, ThreadBusy, Contention.
    """

    def wanted(thread: uuid.UUID) -> tuple[str, dict[str, Any]]:
        edited = _meant(scope, thread, body, "user")
        if edited.role != "user":
            raise InvalidInput("messageId", "Only a user message can be edited.")
        payload = fingerprint("edit", edited.first_version, message.parts, body.model)
        turn_id = body.turn_id
        if turn_id is None and edited.trigger == Trigger.EDIT and edited.fingerprint == payload:
            turn_id = edited.turn_id
        revision = Revision(edited.id, edited.parent, edited.first_version, edited.turn, is_edit=True)
        return turn_id or f"edit-{fingerprint(edited.id, payload)}", {
            "fingerprint": payload,
            "trigger": Trigger.EDIT.value,
            "user_message": NewUserMessage(parts=message.parts, client_id=message.id),
            "revises": revision,
        }

    return _begin(scope, body, wanted)


def begin_another_answer(scope: Scope, body: ChatBody) -> StoredTurn:
    """Answer once more: the message that ``messageId`` names, or the last one. The answer there is stays current until
    the new one is complete.

    Without a turn id every request is a turn of its own. Raises InvalidInput, ThreadNotFound, MessageNotFound,
    TurnConflict, ThreadBusy, Contention.
    """

    def wanted(thread: uuid.UUID) -> tuple[str, dict[str, Any]]:
        named = _meant(scope, thread, body, "assistant")
        answer = answer_of(scope, named) if named.role == "user" else named
        if answer is None:  # a question that has none yet
            revision = Revision(named.id, named.id, None, None, is_edit=False)
        else:
            revision = Revision(answer.id, answer.parent, answer.first_version, answer.turn, is_edit=False)
        return body.turn_id or str(uuid.uuid4()), {
            "fingerprint": fingerprint("regenerate", body.message_id, body.model),
            "trigger": Trigger.REGENERATE.value,
            "user_message": None,
            "revises": revision,
        }

    return _begin(scope, body, wanted)


def _meant(scope: Scope, thread: uuid.UUID, body: ChatBody, role: str) -> Found:
    """What the body names, as it is current. A turn's retry may come when no version of that is, since an earlier
    message was edited: then it is what the turn has made, and the turn there is.
    """
    try:
        return current_version(scope, thread, body.message_id)
    except MessageNotFound:
        if body.turn_id and (made := message_of(scope, thread, body.turn_id, role)):
            return made
        raise


def _begin(scope: Scope, body: ChatBody, wanted: Callable[[uuid.UUID], tuple[str, dict[str, Any]]]) -> StoredTurn:
    if body.on_busy == "enqueue":
        raise InvalidInput("on_busy", "Only a new message can wait for the busy turn.")
    thread = find_thread(scope, body.id)
    for _ in range(ATTEMPTS):
        turn_id, revised = wanted(thread)
        try:
            with commit("begin"):
                begin = partial(
                    begin_turn,
                    scope,
                    thread,
                    turn_id,
                    request=body.model_dump(mode="json", exclude={"messages", "id"}, exclude_none=True),
                    model=body.model or "",
                    default_model=conf.get("MODEL"),
                    **revised,
                )
                return runner().begun(begin, itself)
        except ThreadBusy as busy:
            if not ended_as_gone(busy.details["turn"]):
                raise
        except Contention:
            continue  # the version has changed meanwhile
    raise Contention

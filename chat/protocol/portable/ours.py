"""Our own export: everything that was said, all versions and how their turns ended. Usage stays where it was paid."""

from __future__ import annotations

from typing import Any

from chat.errors import InvalidInput
from chat.protocol.metadata import clean_metadata
from chat.protocol.portable.conversation import Conversation, Said, a_list, an_object, moment, repaired
from chat.protocol.requests import NAME_LENGTH
from chat.protocol.sanitize import clean_text

FORMAT, VERSION = "durable-chat", 1
ROLES = ("user", "assistant")
PARTS = 10_000


def is_ours(document: Any) -> bool:
    return isinstance(document, dict) and document.get("format") == FORMAT


def threads_of(document: dict[str, Any]) -> list[Any]:
    """Raises InvalidInput."""
    if document.get("version") != VERSION:
        raise InvalidInput("version", f"This server reads version {VERSION} of its export.")
    return a_list(document.get("threads"), "threads")


def conversation(value: Any, at: str) -> Conversation:
    """A thread of an export. Raises InvalidInput with the path of what is wrong."""
    thread = an_object(value, at)
    name = _name(thread.get("client_id"), f"{at}.client_id") or f"import:{_name(thread.get('id'), f'{at}.id')}"
    if name == "import:None":
        raise InvalidInput(f"{at}.id", "A thread needs its id.")
    messages: list[Said] = []
    left_out, keys = 0, set[str]()
    for index, one in enumerate(a_list(thread.get("messages"), f"{at}.messages")):
        message = _message(one, f"{at}.messages.{index}", keys)
        keys.add(message.key)
        if message.role in ROLES:
            messages.append(message)
        else:
            left_out += 1
    kept = {message.key for message in messages}
    for message in messages:
        message.parent = message.parent if message.parent in kept else None
        message.version_of = message.version_of if message.version_of in kept else None
    _require_one_path(messages, at)
    turns = [
        _turn(one, f"{at}.turns.{index}") for index, one in enumerate(a_list(thread.get("turns", []), f"{at}.turns"))
    ]
    return Conversation(
        name=name,
        title=_text(thread.get("title"), 200),
        messages=messages,
        created_at=moment(thread.get("created_at"), f"{at}.created_at"),
        updated_at=moment(thread.get("updated_at"), f"{at}.updated_at"),
        archived_at=moment(thread.get("archived_at"), f"{at}.archived_at"),
        metadata=clean_metadata(thread.get("metadata")) or {},
        turns=list({turn["turn_id"]: turn for turn in turns}.values()),
        left_out=left_out,
    )


def _message(value: Any, at: str, before: set[str]) -> Said:
    message = an_object(value, at)
    key = _name(message.get("id"), f"{at}.id")
    if key is None or key in before:
        raise InvalidInput(f"{at}.id", "A message needs an id of its own.")
    for name in ("parent", "version_of"):
        if message.get(name) is not None and not (isinstance(message[name], str) and message[name] in before):
            raise InvalidInput(f"{at}.{name}", "This message must come before those that name it.")
    if not isinstance(message.get("role"), str):
        raise InvalidInput(f"{at}.role", "A message needs a role.")
    parts = a_list(message.get("parts"), f"{at}.parts", PARTS)
    for index, part in enumerate(parts):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise InvalidInput(f"{at}.parts.{index}", "A part is an object with a type.")
    return Said(
        key=key,
        parent=message.get("parent"),
        role=message["role"],
        parts=repaired(parts, key),
        version_of=message.get("version_of"),
        is_current=message.get("is_current") is not False,
        current_at=moment(message.get("current_at"), f"{at}.current_at"),
        created_at=moment(message.get("created_at"), f"{at}.created_at"),
        metadata=clean_metadata(message.get("metadata")) or {},
        model=_text(message.get("model"), 200),
        client_id=_name(message.get("client_id"), f"{at}.client_id"),
        turn_id=_name(message.get("turn_id"), f"{at}.turn_id"),
    )


def _require_one_path(messages: list[Said], at: str) -> None:
    """What the database would refuse otherwise, and would not name."""
    behind: set[str | None] = set()
    turns: set[tuple[str, str]] = set()
    for index, message in enumerate(messages):
        if message.is_current and message.parent is not None:
            if message.parent in behind:
                raise InvalidInput(f"{at}.messages.{index}.is_current", "Of what follows a message, one is current.")
            behind.add(message.parent)
        if message.turn_id is not None:
            if (message.turn_id, message.role) in turns:
                raise InvalidInput(f"{at}.messages.{index}.turn_id", "A turn has one message of each role.")
            turns.add((message.turn_id, message.role))


# How a turn may have ended, and what made it.
STATUSES = ("completed", "stopped", "interrupted", "failed")
TRIGGERS = ("submit", "regenerate", "edit", "inbox")


def _turn(value: Any, at: str) -> dict[str, Any]:
    turn = an_object(value, at)
    turn_id = _name(turn.get("turn_id"), f"{at}.turn_id")
    if turn_id is None:
        raise InvalidInput(f"{at}.turn_id", "A turn needs its id.")
    for name, known in (("status", STATUSES), ("trigger", TRIGGERS)):
        if turn.get(name) not in known:
            raise InvalidInput(f"{at}.{name}", f"Must be one of {', '.join(known)}.")
    texts = {"model": 200, "finish_reason": 32, "error_code": 64, "error_text": 10_000}
    times = ("created_at", "started_at", "finished_at")
    return {
        "turn_id": turn_id,
        "status": turn["status"],
        "trigger": turn["trigger"],
        **{name: _text(turn.get(name), length) for name, length in texts.items()},
        **{name: moment(turn.get(name), f"{at}.{name}") for name in times},
    }


def _name(value: Any, at: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip() or len(value) > NAME_LENGTH or clean_text(value) != value:
        raise InvalidInput(at, f"Must be text of 1 to {NAME_LENGTH} characters.")
    return value


def _text(value: Any, length: int) -> str:
    return clean_text(value)[:length] if isinstance(value, str) else ""

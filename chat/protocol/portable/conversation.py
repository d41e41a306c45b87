"""A conversation on its way from one system to another: a tree of messages, of which one path is current."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from chat.errors import InvalidInput
from chat.protocol.mending import mend
from chat.protocol.requests import NAME_LENGTH
from chat.protocol.sanitize import clean, clean_text

MESSAGES = 100_000
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Said:
    """A message. ``key`` names it within its conversation; ``parent`` is the key of what it follows, ``version_of``
    that of the first version of the same message.
    """

    key: str
    parent: str | None
    role: str
    parts: list[dict[str, Any]]
    version_of: str | None = None
    is_current: bool = True
    current_at: datetime | None = None
    created_at: datetime | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    model: str = ""
    client_id: str | None = None
    turn_id: str | None = None
    author: Any = None  # who wrote it, where that is not whose thread it becomes


@dataclass(slots=True)
class Conversation:
    """``name`` is what makes a second import of it the same thread. Messages come before those that follow them."""

    name: str
    title: str
    messages: list[Said]
    created_at: datetime | None = None
    updated_at: datetime | None = None
    archived_at: datetime | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    turns: list[dict[str, Any]] = field(default_factory=list)
    left_out: int = 0  # messages that nobody would see, or that only an administrator may write


def ordered(messages: Iterable[Said], last: str | None, at: str) -> list[Said]:
    """The messages, each behind what it follows; the path that ends in ``last`` is current, and siblings of one role
    are versions of the first of them. Raises InvalidInput where they are no tree.
    """
    known = {message.key: message for message in messages}
    children: dict[str | None, list[Said]] = {}
    for message in known.values():
        if message.parent not in known:
            message.parent = None
        children.setdefault(message.parent, []).append(message)
    done: list[Said] = []
    waiting = list(reversed(children.get(None, [])))
    while waiting:
        message = waiting.pop()
        done.append(message)
        waiting.extend(reversed(children.get(message.key, [])))
    if len(done) != len(known):
        raise InvalidInput(at, "The messages follow each other in a circle.")
    first: dict[tuple[str | None, str], str] = {}
    for message in done:
        earlier = first.setdefault((message.parent, message.role), message.key)
        message.version_of = None if earlier == message.key else earlier
        message.is_current = False
        message.current_at = message.created_at
    at_end = known.get(last) if last else None
    step: Said | None = at_end or (done[-1] if done else None)
    while step is not None:
        step.is_current = True
        step = known[step.parent] if step.parent else None
    return done


def moment(value: Any, at: str) -> datetime | None:
    """Seconds since 1970, or ISO 8601, as a time with a zone; None for None. Raises InvalidInput."""
    if value is None or value == "":
        return None
    try:
        if isinstance(value, str):
            found = datetime.fromisoformat(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found = datetime.fromtimestamp(value, UTC)
        else:
            raise ValueError
        found = found if found.tzinfo else found.replace(tzinfo=UTC)
        if EARLIEST <= found < LATEST:
            return found
    except (ValueError, OverflowError, OSError):
        pass
    raise InvalidInput(at, "This is no time.")


def an_object(value: Any, at: str) -> dict[str, Any]:
    """``value`` where it is a JSON object. Raises InvalidInput."""
    if not isinstance(value, dict):
        raise InvalidInput(at, "Must be an object.")
    return value


def a_list(value: Any, at: str, most: int = MESSAGES) -> list[Any]:
    """``value`` where it is a list of at most ``most``. Raises InvalidInput."""
    if not isinstance(value, list) or len(value) > most:
        raise InvalidInput(at, f"Must be a list of at most {most}.")
    return value


def some(value: Any) -> list[Any]:
    """``value`` where it is a list; else an empty one, for what may be left out."""
    return value if isinstance(value, list) else []


def short(value: Any, length: int = NAME_LENGTH) -> str:
    """Text of at most ``length`` characters on one line, repaired; empty for anything else."""
    return " ".join(clean_text(value).split())[:length] if isinstance(value, str) else ""


def repaired(parts: Iterable[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """Parts of the message ``key`` as every store keeps them and every client and provider reads them, without empty
    texts. What cannot be a part is kept as data that nobody shows.
    """
    kept = []
    for part in parts:
        value = clean(part)
        if isinstance(value, dict) and not (value.get("type") in ("text", "reasoning") and not value.get("text")):
            kept.append(value)
    mended, _ = mend(kept, short(key))
    return mended

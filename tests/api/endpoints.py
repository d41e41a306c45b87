"""Every address of the project and what each kind of asker gets there: the table that ``test_matrix`` walks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import AbstractUser

from chat.models import CopilotChat, Message, Thread, Turn
from chat.testing.client import said

PLANTED = "Aubergine-7731"


@dataclass
class World:
    """What the owner has: one of each thing. Its texts hold ``PLANTED``."""

    owner: AbstractUser
    thread: Thread
    question: Message
    answer: Message
    turn: Turn
    chat: CopilotChat
    made: dict[str, Any] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)  # what stands as ``pk`` in the path of these endpoints


@dataclass(frozen=True)
class Rule:
    """Status by asker. ``nobody`` is anonymous, inactive or with a revoked token; ``mate`` sees the owner's threads and
    may not write in them.
    """

    owner: int
    mate: int
    stranger: int
    superuser: int
    nobody: int = 401


def reads(status: int = 200, hidden: int = 404) -> Rule:
    """Who may see the thread."""
    return Rule(status, status, hidden, hidden)


def writes(status: int = 200) -> Rule:
    """Who may write in it; a reader learns that they may not."""
    return Rule(status, 403, 404, 404)


def own(status: int = 200, hidden: int = 404) -> Rule:
    """The owner's alone."""
    return Rule(status, hidden, hidden, hidden)


def everyone(status: int = 200) -> Rule:
    """Whoever is logged in, each for themselves."""
    return Rule(status, status, status, status)


def public(status: int = 200) -> Rule:
    return Rule(status, status, status, status, status)


SUPERUSERS = Rule(404, 404, 404, 201)


@dataclass(frozen=True)
class Case:
    """A method of an endpoint: the rule, the body, and what its path or query needs beside the world's names."""

    rule: Rule
    body: Callable[[World], Any] | Any = None
    query: str = ""
    before: Callable[[World], None] = lambda world: None
    headers: dict[str, str] = field(default_factory=dict)


def question(world: World) -> dict[str, Any]:
    return said(str(world.thread.pk), "/tokens 1 0")


def in_trash(world: World) -> None:
    Thread.objects.filter(pk=world.thread.pk).update(deleted_at="2026-01-01T00:00:00Z")


def element() -> dict[str, Any]:
    return {"id": "e1", "role": "user", "content": "x", "timestamp": "2026-01-01T00:00:00Z"}


FORM = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhello\r\n--x--\r\n'
FORM_HEADERS = {"content-type": "multipart/form-data; boundary=x"}

# By name of the URL; what stands in a path is found in ``arguments``.
ENDPOINTS: dict[str, dict[str, Case]] = {
    # A stranger's send with that id begins a thread of their own.
    "chat-send": {"POST": Case(Rule(200, 403, 200, 200), question)},
    "chat-resume": {"GET": Case(reads(204, hidden=204))},
    "chat-stop": {"POST": Case(writes())},
    "copilot-send": {"POST": Case(own(), lambda world: {"message": "/tokens 1 0", "chatId": str(world.chat.pk)})},
    "copilot-resume": {"GET": Case(own(204), query="streamId=stream-1")},
    "copilot-stop": {"POST": Case(own(), lambda world: {"chatId": str(world.chat.pk)})},
    "copilot-chats": {"GET": Case(everyone()), "POST": Case(everyone(201), {})},
    "copilot-chat": {"GET": Case(own()), "PATCH": Case(own(), {"title": "x"}), "DELETE": Case(own(204))},
    "copilot-messages": {
        "POST": Case(own(), lambda world: {"messages": [], "messages_version": world.chat.messages_version})
    },
    "copilot-fork": {"POST": Case(own(201), {"upToMessageId": "stream-1"})},
    "copilot-inbox": {"POST": Case(own(202), {"message": "/tokens 1 0"})},
    "copilot-import": {"POST": Case(SUPERUSERS, {"chats": [{"title": "x", "messages": [element()]}]})},
    "turn": {"GET": Case(reads())},
    "turn-stream": {"GET": Case(reads())},
    "turn-approvals": {
        "POST": Case(Rule(409, 403, 404, 404), {"decisions": [{"tool_call_id": "c", "approved": True}]})
    },
    "turn-stop": {"POST": Case(writes())},
    "threads": {"GET": Case(everyone()), "POST": Case(everyone(201), {})},
    "thread": {"GET": Case(reads()), "PATCH": Case(writes(), {"title": "x"}), "DELETE": Case(writes(204))},
    "thread-state": {"GET": Case(reads())},
    "messages": {"GET": Case(reads()), "POST": Case(writes(201), {"role": "user", "content": "x"})},
    "message": {"GET": Case(reads())},
    "message-versions": {"GET": Case(reads())},
    "message-restore": {"POST": Case(writes())},
    "thread-restore": {"POST": Case(own(), before=in_trash)},
    "thread-purge": {"POST": Case(own(204), before=in_trash)},
    "thread-fork": {
        "POST": Case(Rule(201, 201, 404, 404), lambda world: {"message_id": str(world.answer.pk)}),
    },
    "thread-export": {"GET": Case(reads())},
    "export": {"GET": Case(everyone())},
    "import": {"POST": Case(everyone(), {"format": "durable-chat", "version": 1, "threads": []})},
    "shares": {"GET": Case(reads()), "POST": Case(writes(201), {})},
    "share": {"DELETE": Case(own(204))},
    "shared": {"GET": Case(public())},
    "thread-feedback": {"GET": Case(reads())},
    "message-feedback": {
        "PUT": Case(reads(), {"rating": "up"}),
        "DELETE": Case(reads(204)),
    },
    "attachments": {"POST": Case(everyone(201), FORM, headers=FORM_HEADERS)},
    "attachment": {"GET": Case(reads()), "DELETE": Case(own(204))},
    "tokens": {"GET": Case(everyone()), "POST": Case(everyone(403), {})},  # a token makes no tokens
    "token": {"DELETE": Case(own(204))},
    "schema": {"GET": Case(everyone())},
    "docs": {"GET": Case(everyone())},
    "search": {"GET": Case(everyone(), query=f"q={PLANTED}")},
    "usage": {"GET": Case(everyone())},
    "healthz": {"GET": Case(public())},
    "readyz": {"GET": Case(public())},
    "metrics": {"GET": Case(Rule(404, 404, 404, 200))},  # for staff
    # Pages: who is not logged in is led to the login.
    "chat-home": {"GET": Case(Rule(200, 200, 200, 200, nobody=302))},
    "chat-thread": {"GET": Case(Rule(200, 200, 200, 200, nobody=302))},  # the same page for every id, existing or not
    "chat-shared": {"GET": Case(public())},
    "login": {"GET": Case(Rule(302, 302, 302, 302, nobody=200))},  # who is logged in is led on
    "logout": {"POST": Case(public(403))},  # without a CSRF token
    "thread-socket": {"GET": Case(public(426))},  # a plain request; sockets have a test of their own
}


def arguments(world: World, name: str) -> dict[str, Any]:
    """What stands in the path of an endpoint."""
    return {
        "thread_id": str(world.thread.pk),
        "chat_id": str(world.chat.pk),
        "pk": world.numbers.get(name, world.answer.pk if name.startswith("message") else world.turn.pk),
        **world.made,
    }

"""Reconciling in tests: as a function and as the command; what a mirror ought to be, said without SQL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from django.db import connection

from chat.models import CopilotChat, CopilotMessage, ReconcileMode
from chat.store.drift import Finding, Kind
from chat.store.reconcile import Step, reconcile
from chat.store.reconcile_range import ALL, Range
from tests.acceptance.cluster import database_of_this_test
from tests.acceptance.server import ROOT

CHECK, REPAIR, INSERT = ReconcileMode.CHECK, ReconcileMode.REPAIR, ReconcileMode.INSERT
CLEAN: dict[Kind, int] = {}


def execute(statement: str, *params: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, params or None)
        return cursor.fetchall() if cursor.description else []


def reconciled(mode: ReconcileMode, chosen: Range = ALL, *, examples: int = 10_000, batch_size: int = 200) -> Step:
    """All steps of a run as one."""
    total = Step()
    for step in reconcile(chosen, mode, examples=examples, batch_size=batch_size):
        total.add(step)
    return total


def drift(step: Step) -> dict[Kind, int]:
    """What was found, by kind, without what was rejected."""
    return {kind: number for kind, number in step.found.items() if number and kind != Kind.REJECTED}


def left(step: Step) -> dict[Kind, int]:
    return dict(+step.left)


def named(step: Step, kind: Kind) -> list[tuple[uuid.UUID, str | None]]:
    """The chats and messages of one kind."""
    return sorted((one.chat, one.message_id) for one in step.listed if one.kind == kind)


def rejected(findings: list[Finding]) -> list[tuple[uuid.UUID, int | None, str | None, bool | None]]:
    return sorted((one.chat, one.index, one.problem, one.kept) for one in findings if one.kind == Kind.REJECTED)


class Holder:
    """Somebody who holds a chat's lock, on a connection of their own."""

    def __init__(self, chat: Any) -> None:
        self.connection = psycopg.connect(database_of_this_test())
        self.connection.execute("SELECT FROM copilot_chats WHERE id = %s FOR NO KEY UPDATE", [chat])

    def __enter__(self) -> Holder:
        return self

    def __exit__(self, *problem: object) -> None:
        self.connection.close()


def command(*options: str, phase: str = "dual", **environment: str) -> subprocess.CompletedProcess[str]:
    """The real command on this test's database, which must be committed."""
    return subprocess.run(
        arguments(*options), env=settings(phase, **environment), cwd=ROOT, capture_output=True, text=True, check=False
    )


def arguments(*options: str) -> list[str]:
    return [sys.executable, "manage.py", "reconcile_messages", *options]


def settings(phase: str = "dual", **environment: str) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if name != "GENERIC_PLAN"},
        "DJANGO_SETTINGS_MODULE": "chatproject.settings",
        "DEBUG": "1",
        "DATABASE_URL": database_of_this_test(),
        "DATABASE_POOL": "2",
        "COPILOT_MESSAGES_PHASE": phase,
        **environment,
    }


@dataclass(frozen=True)
class Expected:
    """What a reconcile has to make of an array."""

    ids: list[str | None]  # None: made out of the content
    contents: list[Any]
    rejected: list[tuple[int, str, bool]]  # index, problem, kept


def expected(messages: Any) -> Expected:
    """The rules for an element, written down a second time."""
    result = Expected([], [], [])
    seen = set()
    if not isinstance(messages, list) and messages not in (None, {}, ""):
        result.rejected.append((0, "no_array", False))
    for index, element in enumerate(messages if isinstance(messages, list) else []):
        if not isinstance(element, dict):
            result.rejected.append((index, "no_object", False))
            continue
        problem = _problem(element)
        name = None if problem == "no_id" else element["id"]
        name = name if name is None or isinstance(name, str) else json.dumps(name)
        if name in seen:
            result.rejected.append((index, "repeated_id", False))
            continue
        if name is not None:
            seen.add(name)
        result.ids.append(name)
        result.contents.append(element)
        if problem:
            result.rejected.append((index, problem, True))
    return result


def _problem(element: dict[str, Any]) -> str | None:
    name, role = element.get("id"), element.get("role")
    if isinstance(name, bool) or not isinstance(name, str | int | float) or not 1 <= len(str(name).encode()) <= 1000:
        return "no_id"
    if not isinstance(role, str) or not 1 <= len(role.encode()) <= 64:
        return "no_role"
    try:
        datetime.fromisoformat(element["timestamp"])
    except (KeyError, TypeError, ValueError):
        return "no_time"
    return None


def assert_mirror_is_right() -> int:
    """Each good element of every array has one live row, in order, and there is no other; returns how many rows there
    are.
    """
    number = 0
    for chat in CopilotChat.objects.order_by("id").iterator(chunk_size=100):
        wanted = expected(chat.messages)
        rows = list(CopilotMessage.objects.filter(chat=chat, deleted_at=None).order_by("seq"))
        assert [row.content for row in rows] == wanted.contents, chat.pk
        assert len({row.seq for row in rows}) == len(rows), chat.pk
        for row, name in zip(rows, wanted.ids, strict=True):
            assert row.message_id.startswith("made-") if name is None else row.message_id == name
            assert row.role == (row.content["role"] if _has_role(row.content) else "unknown")
        number += len(rows)
    return number


def _has_role(element: dict[str, Any]) -> bool:
    return isinstance(element.get("role"), str) and 1 <= len(element["role"].encode()) <= 64


def assert_rejected_are_told(step: Step) -> Counter[str]:
    """Everything that is wrong with an element is reported, by chat, index and problem, and nothing else is; returns
    how much of each problem there is.
    """
    wanted = [
        (chat.pk, *one)
        for chat in CopilotChat.objects.order_by("id").iterator(chunk_size=100)
        for one in expected(chat.messages).rejected
    ]
    assert rejected(step.listed) == sorted(wanted)
    assert step.found[Kind.REJECTED] == len(wanted)
    return Counter(problem for _, _, problem, _ in wanted)

"""The way back from mirror_only: arrays built anew from the mirror, without losing a message or what is no row."""

from __future__ import annotations

import io
import json
import random
import signal
import subprocess
import time
import uuid
from itertools import islice
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from chat.conf import Phase
from chat.models import CopilotChat, CopilotMessage
from chat.store import copilot
from chat.store.rebuild import rebuild
from chat.store.reconcile import Step
from chat.store.reconcile_range import ALL, BEHIND, Range, chats_by_id
from chat.store.scope import Scope
from tests.acceptance.server import ROOT
from tests.copilot.chats import array, chat_with, element, elements, mirror
from tests.copilot.reconciling import (
    CHECK,
    CLEAN,
    arguments,
    assert_mirror_is_right,
    command,
    drift,
    execute,
    reconciled,
)
from tests.copilot.reconciling import (
    settings as environment,
)
from tests.copilot.test_writer import end, send
from tests.scale import rounds

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(rounds(120, 900))]
MIRROR_ONLY = "mirror_only"


def rebuilt(chosen: Range = BEHIND) -> Step:
    total = Step()
    for step in islice(rebuild(chosen, batch_size=3), rounds(60, 2000)):  # none of the tests needs as many
        assert step.chats <= 3
        total.add(step)
    return total


def turn(asker: Scope, chat: uuid.UUID, number: int) -> None:
    send(asker, chat, element(f"u{number}"))
    end(chat, f"u{number}", element(f"a{number}", "assistant"))


def test_what_was_written_without_the_array_is_in_it_again(asker: Scope, settings: Any) -> None:
    settings.COPILOT_MESSAGES_PHASE = MIRROR_ONLY
    busy = [chat_with(asker, "u1", "a1") for _ in range(7)]
    idle = chat_with(asker, "u1", "a1")
    for chat in busy:
        turn(asker, chat, 2)
    assert set(CopilotChat.objects.filter(array_behind=True).values_list("pk", flat=True)) == set(busy)
    versions = dict(CopilotChat.objects.values_list("pk", "messages_version"))
    activity = dict(CopilotChat.objects.values_list("pk", "updated_at"))

    step = rebuilt()
    assert (step.chats, step.rebuilt, step.messages) == (7, 7, 28)
    for chat in busy:
        assert array(chat) == mirror(chat)
        stored = CopilotChat.objects.get(pk=chat)
        assert (stored.array_behind, stored.messages_version) == (False, versions[chat] + 1)
        assert stored.updated_at == activity[chat]
    assert CopilotChat.objects.get(pk=idle).messages_version == versions[idle]
    assert drift(reconciled(CHECK)) == CLEAN
    assert rebuilt().chats == 0
    assert rebuilt(ALL).chats == 8


def test_an_array_is_in_its_rows_order_and_without_what_is_marked_as_deleted(asker: Scope) -> None:
    chat, other, right = (chat_with(asker, "u1", "a1", "u2", "a2", array_behind=True) for _ in range(3))
    rows = CopilotMessage.objects.filter(chat__in=[chat, other])
    rows.update(seq=9 - F("seq"))
    rows.filter(message_id="a1").update(deleted_at=Now())
    rebuilt(chats_by_id([right]))
    assert set(CopilotChat.objects.filter(array_behind=True).values_list("pk", flat=True)) == {chat, other}
    assert rebuilt(chats_by_id([chat])).rebuilt == 1
    assert array(chat) == ["a2", "u2", "u1"]
    assert array(other) == array(right) == ["u1", "a1", "u2", "a2"]
    assert list(CopilotChat.objects.filter(array_behind=True).values_list("pk", flat=True)) == [other]


def test_large_histories_are_built_one_by_one_and_small_ones_together(asker: Scope) -> None:
    """Large in the mirror: the arrays know nothing of it yet."""
    words = random.Random(1).randbytes(200_000).hex()
    for number, content in enumerate(("few", "few", words, words), 1):
        chat = chat_with(asker, messages=[element("u1", content=content)], id=uuid.UUID(int=number))
        CopilotChat.objects.filter(pk=chat).update(messages=[], array_behind=True)
    total = Step()
    for step in rebuild(BEHIND):
        total.add(step)
    assert (total.rebuilt, len(total.locked)) == (4, 3)


def test_of_a_repeated_id_the_first_is_the_message(asker: Scope) -> None:
    names = [f"m{number * 7 % 40:02}" for number in range(40)]
    history = [element(name, content=time) for time in ("first", "second") for name in names]
    chat_with(asker, messages=history, array_behind=True)
    assert rebuilt().rebuilt == 0


def test_a_replaced_history_is_what_the_array_becomes(asker: Scope, settings: Any) -> None:
    settings.COPILOT_MESSAGES_PHASE = MIRROR_ONLY
    chat = chat_with(asker, "u1", "a1", "u2", "a2")
    version = CopilotChat.objects.get(pk=chat).messages_version
    with transaction.atomic():
        copilot.replace_messages(asker, chat, elements("a2", "u1", "u3"), version=version)
    rebuilt()
    assert array(chat) == ["a2", "u1", "u3"]
    assert drift(reconciled(CHECK)) == CLEAN


@pytest.mark.parametrize(
    ("old", "rows", "new"),
    [
        (["x", "u1", 7, "a1", None, "u2"], ["u1", "a1", "u2", "a2"], ["x", "u1", 7, "a1", None, "u2", "a2"]),
        (["u1", "x", "y", "a1"], ["u1", "a1"], ["u1", "x", "y", "a1"]),
        (["u1", "a1", "x"], ["u1"], ["u1", "x"]),  # its message is gone: behind the one before it
        (["x", "u1"], ["u0"], ["x", "u0"]),
        (["u1", "x", "a1", "y"], ["a1", "u1"], ["a1", "y", "u1", "x"]),  # what stood together goes together
        (["u1", "a1", "u1"], ["u1", "a1", "u2"], ["u1", "a1", "u1", "u2"]),
        (["u1", "a1", "u1"], ["a1", "u2", "u1"], ["a1", "u2", "u1", "u1"]),  # never in front of its first
        (["u1", "a1", "u1"], ["a1"], ["a1"]),  # the message was deleted: its repetition must not bring it back
        (["x", "y"], [], ["x", "y"]),
        (["u1"], [], []),
    ],
)
def test_what_no_row_can_hold_keeps_its_relative_place(
    asker: Scope, old: list[Any], rows: list[str], new: list[Any]
) -> None:
    """``u`` and ``a`` are messages by id, the rest is no object; the second of an id has other words."""

    def written(names: list[Any], second: str = "the second") -> list[Any]:
        seen: set[str] = set()
        result: list[Any] = []
        for name in names:
            if isinstance(name, str) and name[0] in "ua":
                result.append(element(name, **({"content": second} if name in seen else {})))
                seen.add(name)
            else:
                result.append(name)
        return result

    chat = chat_with(asker, messages=written(rows))
    CopilotChat.objects.filter(pk=chat).update(messages=written(old), array_behind=True)
    rebuilt()
    stored = CopilotChat.objects.get(pk=chat)
    assert stored.messages == written(new)
    assert not stored.array_behind
    assert drift(reconciled(CHECK)) == CLEAN


def test_an_array_that_is_right_already_is_not_written(asker: Scope) -> None:
    chat = chat_with(asker, "u1", "a1", array_behind=True)
    before = CopilotChat.objects.get(pk=chat)
    step = rebuilt()
    after = CopilotChat.objects.get(pk=chat)
    assert (step.chats, step.rebuilt) == (1, 0)
    assert (after.array_behind, after.messages_version, after.updated_at) == (
        False,
        before.messages_version,
        before.updated_at,
    )


def test_any_history_comes_back_in_order_and_whole(asker: Scope) -> None:
    chosen = random.Random(7)
    for _ in range(rounds(30, 500)):
        names = [f"u{n}" for n in range(chosen.randint(0, 12))]
        odd = ["no object", None, 3, []]
        old = [
            element(chosen.choice(names)) if names and chosen.random() < 0.7 else chosen.choice(odd) for _ in range(15)
        ]
        kept = [name for name in names if chosen.random() < 0.7]
        chosen.shuffle(kept)
        chat = chat_with(asker, messages=[element(name) for name in kept])
        CopilotChat.objects.filter(pk=chat).update(messages=old, array_behind=True)
    rebuilt()
    assert drift(reconciled(CHECK)) == CLEAN
    assert_mirror_is_right()


def test_a_chat_that_is_named_is_built_anew_without_being_marked(asker: Scope, settings: Any) -> None:
    chat, other = (chat_with(asker, "u1", "a1", "u2") for _ in range(2))
    CopilotChat.objects.update(messages=elements("u1"))
    settings.COPILOT_MESSAGES_PHASE = "mirror_reads"
    out = io.StringIO()
    call_command("reconcile_messages", "--from-mirror", "--chat", str(chat), stdout=out, no_color=True)
    assert "1 arrays built anew" in out.getvalue()
    assert (array(chat), array(other)) == (["u1", "a1", "u2"], ["u1"])
    before = execute("SELECT ctid FROM copilot_chats WHERE id = %s", chat)
    assert rebuilt(chats_by_id([chat])).rebuilt == 0
    assert execute("SELECT ctid FROM copilot_chats WHERE id = %s", chat) == before


def test_the_command_tells_what_it_built(asker: Scope) -> None:
    chats = [chat_with(asker, "u1", "a1", array_behind=True) for _ in range(3)]
    CopilotChat.objects.filter(pk__in=chats[1:]).update(messages=elements("u1"))
    done = command("--from-mirror", "--json", phase=MIRROR_ONLY)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["mode"], told["chats"], told["rebuilt"], told["is_clean"]) == ("from_mirror", 3, 2, True)
    assert not CopilotChat.objects.filter(array_behind=True).exists()


@pytest.mark.proof
def test_killed_and_run_again_all_arrays_are_there(asker: Scope) -> None:
    words = "w" * 2000
    chats = [chat_with(asker, messages=[element(f"u{n}", content=words) for n in range(60)]) for _ in range(150)]
    for _ in range(rounds(2, 20)):
        CopilotChat.objects.update(messages=["not a message", *elements("u0")], array_behind=True)
        killed = subprocess.Popen(
            arguments("--from-mirror", "--batch-size", "10"),
            env=environment(MIRROR_ONLY),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while CopilotChat.objects.filter(array_behind=False).count() < 5 and killed.poll() is None:
            time.sleep(0.002)
        time.sleep(random.uniform(0, 0.1))
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        for stored in CopilotChat.objects.filter(array_behind=False):
            assert len(stored.messages) == 61
        assert command("--from-mirror", phase=MIRROR_ONLY).returncode == 0
        for chat in chats[::50]:
            stored = CopilotChat.objects.get(pk=chat)
            assert stored.messages[0] == "not a message"
            assert [one["id"] for one in stored.messages[1:]] == mirror(chat)
    assert drift(reconciled(CHECK)) == CLEAN


def test_a_writer_and_a_rebuild_of_the_same_chat_lose_nothing(asker: Scope, settings: Any) -> None:
    """The chat is behind again where a process still in mirror_only wrote after the rebuild."""
    settings.COPILOT_MESSAGES_PHASE = MIRROR_ONLY
    chat = chat_with(asker, "u1", "a1")
    turn(asker, chat, 2)
    rebuilt()
    turn(asker, chat, 3)
    assert CopilotChat.objects.get(pk=chat).array_behind
    settings.COPILOT_MESSAGES_PHASE = Phase.MIRROR_READS
    rebuilt()
    assert array(chat) == ["u1", "a1", "u2", "a2", "u3", "a3"]
    assert CopilotMessage.objects.filter(chat=chat).count() == 6
    assert execute("SELECT count(*) FROM copilot_chats WHERE array_behind") == [(0,)]

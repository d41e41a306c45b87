"""What the database must hold of the sends of one example, to the letter."""

from __future__ import annotations

import itertools
from typing import Any

import orjson

from chat.models import Message, TokenUsage, ToolApproval, Turn
from chat.protocol import sse
from chat.protocol.fold import says_something
from chat.testing.invariants import EndedTurn, assert_database_is_sound
from tests.acceptance.sent import Sent

ENDING_CHUNK = {"completed": "finish", "failed": "error", "stopped": "abort", "interrupted": "abort"}


def unended(threads: list[str]) -> tuple[list[str], list[str]]:
    """The turn ids that are busy, which are at most one a thread, and those that wait in a queue."""
    found = list(
        Turn.objects.filter(thread__client_id__in=threads, status__in=["streaming", "awaiting_approval", "queued"])
        .order_by("pk")
        .values_list("thread__client_id", "turn_id", "status")
    )
    live = [(thread, turn) for thread, turn, status in found if status != "queued"]
    assert len({thread for thread, _ in live}) == len(live), f"two live turns in a thread: {found}"
    return [turn for _, turn in live], [turn for _, turn, status in found if status == "queued"]


def is_parked(thread: str) -> bool:
    """Whether a turn of the thread waits for a decision."""
    return Turn.objects.filter(thread__client_id=thread, status="awaiting_approval").exists()


def turn_of(sent: Sent) -> int | None:
    turns = Turn.objects.filter(thread__client_id=sent.thread, turn_id=sent.turn_id)
    return turns.values_list("pk", flat=True).first()


def has_turn(sent: Sent) -> bool:
    return turn_of(sent) is not None


def turns_in(thread: str) -> int:
    return Turn.objects.filter(thread__client_id=thread).count()


def has_rows(thread: str) -> bool:
    return Message.objects.filter(thread__client_id=thread).exists() or turns_in(thread) > 0


def assert_ledger(threads: list[str], sends: list[Sent], appended: dict[int, dict[str, Any]]) -> None:
    """All turns of the example have ended and are sound: they, their messages, logs and usage are what the clients were
    told.

    ``appended`` are the messages that legacy appends made, by id.
    """
    names = ", ".join(f"'{thread}'" for thread in threads)
    stored = {turn.pk: turn for turn in assert_database_is_sound(condition=f"h.client_id IN ({names})")}
    turns = {
        (turn.thread.client_id, turn.turn_id): turn
        for turn in Turn.objects.filter(thread__client_id__in=threads).select_related("thread")
    }
    expected = {(sent.thread, sent.turn_id) for sent in sends if sent.accepted}
    possible = {(sent.thread, sent.turn_id) for sent in sends if sent.accepted is not False}
    assert expected <= turns.keys() <= possible, f"turns {turns.keys()} of {expected} to {possible}"
    for thread in threads:
        ran = [turn for key, turn in turns.items() if key[0] == thread and turn.started_at]  # others ended in the queue
        times = sorted((turn.started_at, turn.finished_at) for turn in ran)
        for (_, end), (begin, _) in itertools.pairwise(times):
            assert end <= begin, f"two turns at once in {thread}: {times}"

    messages: dict[tuple[str, str | None, str], list[Message]] = {}
    for message in Message.objects.filter(thread__client_id__in=threads).select_related("thread").order_by("id"):
        messages.setdefault((message.thread.client_id or "", message.turn_id, message.role), []).append(message)
    own = set()
    answers: dict[int, list[tuple[Turn, Message]]] = {}  # by question, those that it has got
    for sent in sends:
        turn = turns.get((sent.thread, sent.turn_id))
        if turn is None:
            continue
        (question,) = messages[sent.thread, (sent.answers or sent).turn_id, "user"]
        (answer,) = messages[sent.thread, sent.turn_id, "assistant"]
        own |= {question.pk, answer.pk}
        answers.setdefault(question.pk, []).append((turn, answer))
        assert question.parts == [{"type": "text", "text": sent.text}]
        assert_told(sent, turn, stored[turn.pk], answer)
        if sent.answers:
            assert answer.parent_id == question.pk, f"{turn} answers another question: {sent}"
    for question, given in answers.items():
        assert_best_is_current(question, given)
    others = {message.pk: message for several in messages.values() for message in several if message.pk not in own}
    assert others.keys() == appended.keys() - own, f"messages {others.keys()}, appended {appended.keys()}"
    for pk, message in others.items():
        assert message.parts == appended[pk]["parts"]


def assert_best_is_current(question: int, answers: list[tuple[Turn, Message]]) -> None:
    """Of the answers to a question that is current one is: the last that is complete, or was stopped with something in
    it, else the first.
    """
    if not Message.objects.get(pk=question).is_current:
        return
    answers.sort(key=lambda given: given[0].pk)
    best = answers[0][1]
    for turn, answer in answers[1:]:
        if turn.status == "completed" or (turn.status == "stopped" and says_something(answer.parts)):
            best = answer
    current = [answer.pk for _, answer in answers if answer.is_current]
    assert current == [best.pk], f"{current} are current, not {best.pk}: {answers}"


def assert_told(sent: Sent, turn: Turn, stored: EndedTurn, answer: Message) -> None:
    """One ended turn: its end is one that may be, its log holds all that was shown, no call waits for a decision, and
    its usage is its answer's.
    """
    told = f"{turn} of {sent}"
    assert sent.pk in (None, turn.pk), told
    assert turn.status in sent.endings, f"{turn.status}, not one of {sent.endings}: {told}"
    assert sent.length in (None, len(stored.log)), told
    for seq, frame in sent.seen.items():
        assert frame == sse.frame(stored.log[seq - 1], f"{turn.pk}-{seq}"), f"{seq} was shown, not stored: {told}"
    assert orjson.loads(stored.log[-1])["type"] == ENDING_CHUNK[turn.status], told
    calls = [part["state"] for part in stored.parts if part.get("toolCallId") == sent.call]
    if turn.status == "completed" and sent.verdict is not None:
        assert calls == ["output-available" if sent.verdict else "output-denied"], told
    assert not ToolApproval.objects.filter(turn=turn, status="pending").exists(), told
    (usage,) = TokenUsage.objects.filter(turn=turn)
    assert usage.message_id == answer.pk, told

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.db import connection

from chat.models import StreamEvents, Turn, TurnStatus
from chat.store.leases import renew, take_expired
from chat.store.scope import Scope
from chat.store.sql import rows
from chat.store.stream_log import LogRow, append, news, prune, read_log, read_news
from chat.store.threads import open_thread
from chat.store.turns import StoredTurn
from tests.races import while_held
from tests.store.test_turns import begin, finish

pytestmark = pytest.mark.django_db


@pytest.fixture
def turn(asker: Scope) -> StoredTurn:
    return begin(asker, open_thread(asker, "conversation"))


def chunks(*numbers: int) -> list[bytes]:
    return [b'{"n":%d}' % number for number in numbers]


def test_rows_of_many_turns_are_added_in_one_statement(asker: Scope, django_assert_num_queries: object) -> None:
    turns = [begin(asker, open_thread(asker, f"thread {number}")) for number in range(5)]
    batch = [LogRow(turn.pk, turn.epoch, 1, chunks(1, 2)) for turn in turns]
    with django_assert_num_queries(1):  # type: ignore[operator]
        taken = append(batch, "p")
    assert taken == {turn.pk for turn in turns}
    assert [read_log(turn.pk) for turn in turns] == [chunks(1, 2)] * 5


def test_chunks_come_back_as_they_were_in_order(turn: StoredTurn) -> None:
    odd = '{"text":"a\\nb \\u001e é 😀 \\u0085"}'.encode()
    append([LogRow(turn.pk, turn.epoch, 1, [odd, *chunks(2)])], "p")
    append([LogRow(turn.pk, turn.epoch, 3, chunks(3))], "p")
    assert read_log(turn.pk) == [odd, *chunks(2, 3)]


def test_the_log_is_in_order_wherever_its_rows_lie(turn: StoredTurn) -> None:
    append([LogRow(turn.pk, turn.epoch, 1, chunks(1, 2))], "p")
    append([LogRow(turn.pk, turn.epoch, 3, chunks(3))], "p")
    rows("UPDATE chat_stream_events SET chunks = chunks WHERE first_seq = 1")  # lies behind the other now
    for index in ("enable_indexscan", "enable_bitmapscan"):
        rows(f"SET LOCAL {index} = off")
    assert read_log(turn.pk) == chunks(1, 2, 3)


def test_a_batch_that_is_sent_again_changes_nothing(turn: StoredTurn) -> None:
    row = LogRow(turn.pk, turn.epoch, 1, chunks(1, 2))
    assert append([row], "p") == {turn.pk}
    assert append([row], "p") == {turn.pk}
    assert read_log(turn.pk) == chunks(1, 2)


def test_an_older_epoch_and_an_ended_turn_get_nothing_written(asker: Scope, turn: StoredTurn) -> None:
    """Whatever epoch those have that live beside them."""
    ended, live, later = (begin(asker, open_thread(asker, name)) for name in ("ended", "live", "later"))
    finish(ended)
    Turn.objects.filter(pk__in=(turn.pk, later.pk)).update(epoch=2)
    batch = [LogRow(one, 1, 1, chunks(1)) for one in (turn.pk, ended.pk, 999_999, live.pk)]
    batch.append(LogRow(later.pk, 2, 1, chunks(1)))
    assert append(batch, "p") == {live.pk, later.pk}
    assert set(StreamEvents.objects.values_list("turn_id", flat=True)) == {live.pk, later.pk}


@pytest.mark.django_db(transaction=True)
def test_a_log_grows_while_somebody_holds_another_turn(asker: Scope, turn: StoredTurn) -> None:
    other = begin(asker, open_thread(asker, "another"))
    rows_of = LogRow(turn.pk, turn.epoch, 1, chunks(1))
    held = "SELECT id FROM chat_turns WHERE id = %(turn)s FOR UPDATE"
    _, taken = while_held(lambda: set(rows(held, turn=other.pk)[0].values()), lambda: append([rows_of], "p"))
    assert taken == {turn.pk}


def test_the_end_of_a_turn_takes_the_last_of_its_log_along(turn: StoredTurn) -> None:
    append([LogRow(turn.pk, turn.epoch, 1, chunks(1, 2))], "p")
    assert finish(turn, log=LogRow(turn.pk, turn.epoch, 3, chunks(3, 4)))
    assert read_log(turn.pk) == chunks(1, 2, 3, 4)
    assert Turn.objects.get().last_seq == 4
    assert not finish(turn, log=LogRow(turn.pk, turn.epoch, 5, chunks(5)))
    assert read_log(turn.pk) == chunks(1, 2, 3, 4)


def test_news_of_many_turns_are_read_in_one_statement(asker: Scope, django_assert_num_queries: object) -> None:
    turns = [begin(asker, open_thread(asker, f"thread {number}")) for number in range(3)]
    for turn in turns:
        append([LogRow(turn.pk, turn.epoch, 1, chunks(1, 2))], "p")
        append([LogRow(turn.pk, turn.epoch, 3, chunks(3))], "p")
    with django_assert_num_queries(1):  # type: ignore[operator]
        found = read_news({turns[0].pk: 0, turns[1].pk: 2, turns[2].pk: 3, 999_999: 0})
    assert {one.turn: one.chunks for one in found} == {
        turns[0].pk: chunks(1, 2, 3),
        turns[1].pk: chunks(3),
        turns[2].pk: [],
    }


def test_news_fit_a_payload_however_many_turns_there_are() -> None:
    payloads = news("process", range(10**9, 10**9 + 5000))
    assert all(len(payload) < 8000 for payload in payloads)
    told = [turn for payload in payloads for turn in payload.removeprefix("process ").split(",")]
    assert told == [str(turn) for turn in range(10**9, 10**9 + 5000)]
    assert news("process", []) == []
    assert news("process", [1, 2, 3]) == ["process 1,2,3"]


def test_the_log_of_a_turn_goes_with_it(turn: StoredTurn) -> None:
    append([LogRow(turn.pk, turn.epoch, 1, chunks(1))], "p")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM chat_threads")
    assert not StreamEvents.objects.exists()


def test_only_the_logs_of_turns_that_ended_long_enough_ago_are_pruned(asker: Scope, turn: StoredTurn) -> None:
    old, fresh = (begin(asker, open_thread(asker, name)) for name in ("old", "fresh"))
    for one in (turn, old, fresh):
        append([LogRow(one.pk, one.epoch, 1, chunks(1))], "p")
    append([LogRow(old.pk, old.epoch, 2, chunks(2))], "p")
    finish(old)
    finish(fresh)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE chat_turns SET finished_at = finished_at - interval '1 hour' WHERE id = %s", [old.pk])
    assert prune(1800) == 1
    assert prune(1800) == 0
    assert [read_log(one.pk) for one in (turn, old, fresh)] == [chunks(1), [], chunks(1)]


def test_logs_are_pruned_some_at_a_time(asker: Scope) -> None:
    for number in range(7):
        ended = begin(asker, open_thread(asker, f"thread {number}"))
        if number not in (1, 3):  # a turn without a log takes nobody's place
            append([LogRow(ended.pk, ended.epoch, 1, chunks(1))], "p")
        finish(ended)
    assert [prune(0, most=2) for _ in range(4)] == [2, 2, 1, 0]


def test_the_command_prunes_as_the_setting_says_or_as_it_is_told(
    asker: Scope, turn: StoredTurn, capsys: pytest.CaptureFixture[str]
) -> None:
    append([LogRow(turn.pk, turn.epoch, 1, chunks(1))], "p")
    finish(turn)
    call_command("prune_streams")
    assert read_log(turn.pk) == chunks(1), "it is kept for a day"
    call_command("prune_streams", "--older-than", "0")
    assert read_log(turn.pk) == []
    assert capsys.readouterr().out == "0 logs pruned\n1 logs pruned\n"


@pytest.mark.django_db(transaction=True)
def test_two_processes_that_prune_at_once_do_not_wait_for_each_other(asker: Scope) -> None:
    turns = [begin(asker, open_thread(asker, f"thread {number}")) for number in range(4)]
    for one in turns:
        append([LogRow(one.pk, one.epoch, 1, chunks(1))], "p")
        finish(one)
    assert while_held(lambda: prune(0, most=2), lambda: prune(0)) == (2, 2)
    assert not StreamEvents.objects.exists()


def test_a_renewed_lease_tells_of_a_stop_and_of_turns_that_are_lost(asker: Scope, turn: StoredTurn) -> None:
    other = begin(asker, open_thread(asker, "other"))
    Turn.objects.filter(pk=turn.pk).update(stop_requested_at="2026-01-01T00:00:00Z")
    Turn.objects.filter(pk=other.pk).update(epoch=2)
    (lease,) = renew([(turn.pk, turn.epoch), (other.pk, other.epoch)])
    assert (lease.turn, lease.stop_requested) == (turn.pk, True)
    assert renew([]) == []


def test_a_turn_is_taken_over_when_its_lease_is_out_and_not_before(turn: StoredTurn) -> None:
    assert take_expired(30, "p") == []
    with connection.cursor() as cursor:
        cursor.execute("UPDATE chat_turns SET heartbeat_at = heartbeat_at - interval '31 seconds'")
    (taken,) = take_expired(30, "p")
    assert (taken.pk, taken.epoch, taken.assistant_message_id) == (turn.pk, turn.epoch + 1, turn.assistant_message_id)
    assert take_expired(30, "p") == []
    assert not finish(turn)
    assert finish(taken, status=TurnStatus.INTERRUPTED)


def test_an_unknown_turn_has_no_log() -> None:
    assert read_log(999_999) == []

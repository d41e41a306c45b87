"""Who may run a turn: claimed by one, renewed by nobody else, taken over when its heartbeat has stopped."""

from __future__ import annotations

import pytest

from chat.models import Turn
from chat.store.leases import claim, renew, take_expired
from chat.store.scope import Scope
from chat.store.sql import rows
from chat.store.stream_log import LogRow, append
from chat.store.threads import open_thread
from chat.store.turns import StoredTurn, request_stop_anyway
from tests.races import while_held
from tests.store.test_turns import begin, finish

pytestmark = pytest.mark.django_db


def begun(asker: Scope, count: int) -> list[StoredTurn]:
    return [begin(asker, open_thread(asker, f"thread {number}")) for number in range(count)]


def silent_for(turn: StoredTurn, seconds: int) -> None:
    rows(
        "UPDATE chat_turns SET heartbeat_at = clock_timestamp() - make_interval(secs => %(seconds)s) WHERE id = %(id)s",
        seconds=seconds,
        id=turn.pk,
    )


def test_a_turn_is_claimed_by_one_owner_who_may_ask_again(asker: Scope) -> None:
    turn, other = begun(asker, 2)
    mine = claim(turn.pk, turn.epoch, "mine")
    assert mine
    assert (mine.turn.pk, mine.goes_on, mine.stop_requested) == (turn.pk, False, False)
    assert (mine.turn.user_message_id, mine.turn.assistant_message_id) == (
        turn.user_message_id,
        turn.assistant_message_id,
    )
    assert claim(turn.pk, turn.epoch, "theirs") is None
    append([LogRow(turn.pk, turn.epoch, 1, [b"{}"])], "p")
    request_stop_anyway(turn.pk)
    again = claim(turn.pk, turn.epoch, "mine")
    assert again
    assert (again.goes_on, again.stop_requested) == (True, True)
    assert dict(Turn.objects.values_list("id", "owner")) == {turn.pk: "mine", other.pk: ""}


def test_a_turn_of_another_epoch_and_one_that_has_ended_are_nobodys_to_claim(asker: Scope) -> None:
    turn, ended = begun(asker, 2)
    finish(ended)
    assert claim(turn.pk, turn.epoch + 1, "mine") is None
    assert claim(ended.pk, ended.epoch, "mine") is None
    assert claim(999_999, 1, "mine") is None


def test_a_turn_that_has_ended_is_no_longer_ours_to_renew(asker: Scope) -> None:
    turn, ended = begun(asker, 2)
    finish(ended)
    assert [lease.turn for lease in renew([(turn.pk, turn.epoch), (ended.pk, ended.epoch)])] == [turn.pk]


def test_a_turn_that_has_ended_is_not_taken_over_however_long_ago_it_was(asker: Scope) -> None:
    turn, ended = begun(asker, 2)
    finish(ended)
    for one in (turn, ended):
        silent_for(one, 60)
    assert [taken.pk for taken in take_expired(30, "p")] == [turn.pk]


def test_those_that_have_been_silent_longest_are_taken_over_first_some_at_a_time(asker: Scope) -> None:
    turns = begun(asker, 4)
    for turn, seconds in zip(turns, (40, 50, 60, 10), strict=True):
        silent_for(turn, seconds)
    for index in ("enable_indexscan", "enable_bitmapscan"):  # which would find them in order
        rows(f"SET LOCAL {index} = off")
    assert [turn.pk for turn in take_expired(30, "p", turn=turns[3].pk)] == []
    assert [turn.pk for turn in take_expired(30, "p", turn=turns[0].pk)] == [turns[0].pk]
    assert [turn.pk for turn in take_expired(30, "p", limit=1)] == [turns[2].pk]
    assert [turn.pk for turn in take_expired(30, "p", limit=5)] == [turns[1].pk]


@pytest.mark.django_db(transaction=True)
def test_two_sweepers_at_once_take_different_turns_and_none_waits(asker: Scope) -> None:
    turns = begun(asker, 3)
    for turn in turns:
        silent_for(turn, 60)
    theirs, mine = while_held(lambda: take_expired(30, "theirs", limit=2), lambda: take_expired(30, "mine"))
    assert (len(theirs), len(mine)) == (2, 1)
    assert sorted(turn.pk for turn in (*theirs, *mine)) == [turn.pk for turn in turns]
    assert set(Turn.objects.values_list("epoch", flat=True)) == {turns[0].epoch + 1}

"""Turns whose process is gone, more than one recoverer can carry: each is ended once, whoever looks."""

from __future__ import annotations

from collections import Counter

import pytest

from chat.models import Turn
from chat.store.scope import Scope
from chat.store.threads import open_thread
from chat.testing.invariants import assert_database_is_sound
from chat.turns.recover import recover_expired
from tests.races import race
from tests.scale import rounds
from tests.store.test_turns import begin

pytestmark = [pytest.mark.proof, pytest.mark.django_db(transaction=True), pytest.mark.timeout(rounds(120, 900))]
ORPHANS = rounds(200, 10_000)
RECOVERERS = 8


def test_of_eight_recoverers_each_dead_turn_is_ended_by_one(asker: Scope) -> None:
    turns = {begin(asker, open_thread(asker, f"thread {number}")).pk for number in range(ORPHANS)}
    Turn.objects.update(heartbeat_at="2026-01-01T00:00Z")

    def recover_all() -> list[int]:
        ended: list[int] = []
        while Turn.objects.filter(status="streaming").exists():
            ended += recover_expired()
        return ended

    shares = [share for share in race([recover_all] * RECOVERERS) if isinstance(share, list)]
    ended = Counter(turn for share in shares for turn in share)
    assert set(ended) == turns
    assert set(ended.values()) == {1}
    assert {turn.status for turn in assert_database_is_sound()} == {"interrupted"}
    assert sum(bool(share) for share in shares) > 1, "they took part"

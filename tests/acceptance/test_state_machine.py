"""Clients of every kind and servers that die, in any order: no promise is broken."""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import pytest
from django.contrib.auth.models import AbstractUser
from django.db.models import Count
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from chat.models import Turn
from chat.store.tokens import create_token
from chat.testing.invariants import assert_invariants
from tests.acceptance.chat_machine import ChatMachine
from tests.acceptance.clients import LEASE
from tests.acceptance.cluster import Cluster
from tests.scale import rounds

# No shrinking: an example takes its time, and one that hung on timing would only be called flaky. The journal tells
# what happened; the seed and hypothesis' own blob play it again.
PROFILE = settings(
    max_examples=rounds(8, 500),
    stateful_step_count=rounds(15, 30),
    deadline=None,
    print_blob=True,
    report_multiple_bugs=False,
    phases=(Phase.generate,),
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.proof
@pytest.mark.timeout(rounds(120, 3600))
@pytest.mark.django_db(transaction=True)
def test_no_order_of_sends_edits_stops_deletes_crashes_and_readers_breaks_a_promise(
    tmp_path: Path, user: AbstractUser
) -> None:
    token = create_token(user.get_username())
    number = int(os.environ.get("MACHINE_SEED") or random.SystemRandom().getrandbits(32))
    journals: list[list[str]] = []
    tally: Counter[str] = Counter()
    with Cluster(
        tmp_path,
        CHAT_LEASE_SECONDS=LEASE,
        CHAT_LISTEN_CHECK_SECONDS=60,
        CHAT_AGENT="tests.acceptance.scripted_agent.agent",
    ) as cluster:

        @seed(number)
        def machine() -> ChatMachine:
            return ChatMachine(cluster, token, journals, tally)

        try:
            run_state_machine_as_test(machine, settings=PROFILE)
        except BaseException as problem:
            problem.add_note(f"MACHINE_SEED={number}")
            for journal in journals:
                problem.add_note("What happened:\n  " + "\n  ".join(journal))
            problem.add_note("What the servers said:\n" + cluster.said()[-5000:])
            raise
    assert_invariants()
    print(f"{Turn.objects.count()} turns of which {ends()}; {dict(tally)}; MACHINE_SEED={number}")


def ends() -> dict[str, int]:
    return dict(Turn.objects.values_list("status").annotate(Count("pk")))

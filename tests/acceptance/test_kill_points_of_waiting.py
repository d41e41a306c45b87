"""A process dies, or falls asleep, exactly before and after the commits with which a turn parks and goes on.

What is parked, anybody goes on with; what is not, and what went on without a run, is ended like any turn of a dead
process.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from chat.protocol import sse
from chat.testing.invariants import assert_invariants, rows_of
from chat.testing.readers import Reader
from chat.testing.servers import eventually, start_all
from tests.acceptance.database import Postgres
from tests.acceptance.kill_points import NOT_ENDED, World, assert_nothing_comes_late
from tests.acceptance.preloaded import Nursery, Preloaded
from tests.acceptance.together import together

pytestmark = [pytest.mark.proof, pytest.mark.timeout(600)]
# By the commit and its side: how the turn that asks ends. Where it waits, the other process is told to go on with it.
ENDS = {
    ("park", "before"): "interrupted",
    ("park", "after"): "completed",
    ("decide", "before"): "completed",
    ("decide", "after"): "interrupted",
}
ASKED = {"hung": "/hang", "asks": "/approve"}  # in this order: the second one strikes
WAITING = "SELECT id FROM chat_turns WHERE status = 'awaiting_approval'"


@dataclass(frozen=True)
class Case:
    commit: str
    side: str
    how: str
    copilot: bool

    def __str__(self) -> str:
        return f"{self.how} {self.side} {self.commit}{' of copilot chats' if self.copilot else ''}"


CASES = [Case(*point, how, copilot) for point in ENDS for how in ("kill", "pause") for copilot in (False, True)]


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, postgres: Postgres, nursery: Nursery) -> Iterator[dict[Case, Future[str]]]:
    def run(case: Case) -> str:
        with postgres.borrowed() as database, ExitStack() as open_until_the_end:
            return strike(World(database, nursery, open_until_the_end, ASKED, copilot=case.copilot), case)

    with together(request, "case", run, at_once=4) as cases:
        yield cases


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_turn_that_waits_outlives_its_process_and_one_that_went_on_is_ended(
    outcomes: dict[Case, Future[str]], case: Case
) -> None:
    print(f"\n{case}: {outcomes[case].result()}", flush=True)


def strike(world: World, case: Case) -> str:
    owner, other = world.server(f"{case.commit}:{case.side}#1:{case.how}"), world.server()
    start_all(owner, other)
    readers = world.send_all(owner)
    asked_of_the_owner: list[Reader] = []
    if case.commit == "decide":
        assert eventually(lambda: bool(world.database.ask(WAITING)))
        asked_of_the_owner.append(approve(world, owner))
    assert eventually(owner.struck), "the point was never reached"
    waits = ENDS[case.commit, case.side] == "completed"
    assert eventually(lambda: len(world.database.ask(NOT_ENDED)) == waits, 30), world.database.ask(NOT_ENDED)
    assert len(world.database.ask(WAITING)) == waits
    if waits:
        approve(world, other).join(10)
    world.until_all_have_ended()
    turns = world.ended()
    assert turns["asks"].status == ENDS[case.commit, case.side]
    states = {part["state"] for part in turns["asks"].parts if "toolCallId" in part}
    if waits:
        assert states == {"output-available"}
    elif case.commit == "decide":
        assert states == {"output-error"}, "what was approved and did not run is no denial"
    else:
        assert states <= {"output-denied"}, "the call itself may have been lost, unseen"
    ended = world.database.turns()
    before = rows_of(ended, world.database.ask)
    if case.how == "pause":
        owner.send(signal.SIGCONT)
    for name, reader in readers.items():  # one has read a leg to its end
        reader.join(30)
        assert turns[name].stream.startswith(reader.bytes.removesuffix(sse.DONE)), f"{name}: shown, and not stored"
    if case.how == "pause":
        for answer in asked_of_the_owner:
            answer.join(30)
        if not world.copilot:
            assert_nothing_comes_late(world, owner)
        assert rows_of(ended, world.database.ask) == before, "it wrote into what has ended"
        assert_invariants(world.database.ask)
    return f"{turns['asks'].status} after {len(turns['asks'].log)} chunks"


def approve(world: World, server: Preloaded) -> Reader:
    """Approve what waits; the server may die of it."""
    ((turn,),) = world.database.ask(WAITING)
    ((call,),) = world.database.ask("SELECT tool_call_id FROM chat_tool_approvals")
    body = {"decisions": [{"tool_call_id": call, "approved": True}]}
    return Reader(world.client(server), "POST", f"/api/turns/{turn}/approvals/", json=body)

"""A process dies, or falls asleep, exactly before and after every commit that a turn's life hangs on.

Other processes end what it leaves behind, and begin what it left waiting; one that wakes up late has nothing to write.
Every case has its own database and servers, and strikes with several turns live.
"""

from __future__ import annotations

import ast
import re
import signal
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pytest

from chat import conf
from chat.protocol import sse
from chat.testing.invariants import EndedTurn, rows_of
from chat.testing.readers import assert_shown_is_stored
from chat.testing.servers import eventually, start_all
from tests.acceptance.database import Postgres
from tests.acceptance.kill_points import (
    ASKED,
    LEASE,
    TO_ENQUEUE,
    TO_PROMOTE,
    TO_SWEEP,
    World,
    assert_a_late_riser_writes_nothing,
    assert_nothing_comes_late,
    assert_retries_are_the_same_turns,
    stop_hung,
    summary,
)
from tests.acceptance.preloaded import Nursery, Preloaded
from tests.acceptance.server import ROOT
from tests.acceptance.test_kill_points_of_waiting import ENDS as OF_WAITING
from tests.acceptance.together import together
from tests.scale import LONG

pytestmark = [pytest.mark.proof, pytest.mark.timeout(600)]

# The commits by name, and at which of them a case strikes: the first, and in the long form later ones as well.
IN_THE_OWNER = {"begin": (2, 1, 3), "append": (4, 1, 2, 7, 14), "finish": (1, 2), "enqueue": (1,), "promote": (1,)}
# Who ends the turns of a dead process. It promotes, too: what waited behind them.
IN_THE_RECOVERER = {"take": (1, 2), "recover": (1, 2, 3), "promote": (1,)}
# With copilot chats a commit has a second part, the mirror's, inside the first one: of a question, or of an answer.
COPILOT_OWNER = {"begin": (2,), "append": (4,), "finish": (1,), "mirror": (4, 2)}
COPILOT_RECOVERER = {"recover": (1,), "mirror": (1, 2)}
IN_SHORT = {"mirror", "finish", "recover"}
# The short form has one wake under an heir of each kind, and sleeps before every commit; but after a promotion, too,
# whose run is still to begin.
WOKEN_IN_SHORT = {("append", "before"), ("finish", "after"), ("promote", "after")}
PAUSED_AFTER_IN_SHORT = {("owner", "promote")}
NOTHING_TO_INHERIT = {("begin", "before", 1)}


@dataclass(frozen=True)
class Case:
    commit: str
    side: str
    number: int
    how: str  # kill; pause until all is over; wake: pause until somebody has taken over, but not ended, the turns
    who: str
    copilot: bool = False

    def __str__(self) -> str:
        chats = " of copilot chats" if self.copilot else ""
        return f"{self.how} the {self.who} {self.side} {self.commit} {self.number}{chats}"

    @property
    def fault(self) -> str:
        return f"{self.commit}:{self.side}#{self.number}:{'kill' if self.how == 'kill' else 'pause'}"

    @property
    def asked(self) -> dict[str, str]:
        if self.commit == "promote":
            return TO_SWEEP if self.who == "recoverer" else TO_PROMOTE
        return TO_ENQUEUE if self.commit == "enqueue" else ASKED


CASES = [
    Case(commit, side, number, how, who)
    for who, commits in {"owner": IN_THE_OWNER, "recoverer": IN_THE_RECOVERER}.items()
    for commit, numbers in commits.items()
    for number in (numbers if LONG else numbers[:1])
    for side in ("before", "after")
    for how in ("kill", "pause", "wake")
    if how != "wake" or (who == "owner" and (LONG or (commit, side) in WOKEN_IN_SHORT))
    if how != "wake" or (commit, side, number) not in NOTHING_TO_INHERIT
    if LONG or (how, side) != ("pause", "after") or (who, commit) in PAUSED_AFTER_IN_SHORT
] + [
    Case(commit, side, number, how, who, copilot=True)
    for who, commits in {"owner": COPILOT_OWNER, "recoverer": COPILOT_RECOVERER}.items()
    for commit, numbers in commits.items()
    for number in numbers
    for side in ("before", "after")
    for how in ("kill", "pause")
    if LONG or (commit in IN_SHORT and (how == "kill" or (commit, side) == ("mirror", "after")))
]


def announced() -> set[str]:
    """The names in ``with commit("…")``, wherever chat says it."""
    return {
        node.args[0].value if isinstance(node.args[0], ast.Constant) else ast.unparse(node)
        for path in (ROOT / "chat").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "commit"
    }


def test_the_cases_go_through_every_commit_that_chat_announces() -> None:
    assert announced() == {
        *IN_THE_OWNER,
        *IN_THE_RECOVERER,
        *COPILOT_OWNER,
        *(commit for commit, _ in OF_WAITING),
        "claim",
    }


def test_the_documentation_names_every_commit_that_chat_announces() -> None:
    (told,) = re.findall(r"^The points are (.*?),\s+each", (ROOT / "docs" / "testing.md").read_text(), re.M | re.S)
    assert set(re.findall(r"`(\w+)`", told)) == announced()


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, postgres: Postgres, nursery: Nursery) -> Iterator[dict[Case, Future[str]]]:
    def run(case: Case) -> str:
        with postgres.borrowed() as database, ExitStack() as open_until_the_end:
            world = World(database, nursery, open_until_the_end, case.asked, copilot=case.copilot)
            if case.how == "wake":
                return wake_the_owner_under_its_heir(world, case)
            return strike_the_owner(world, case) if case.who == "owner" else strike_the_recoverer(world, case)

    with together(request, "case", run, at_once=6) as cases:
        yield cases


def only_in_process(case: Case) -> bool:
    """With workers two processes share what is to be recovered, and neither may come to the second of it."""
    return (case.who, case.commit, case.number) == ("recoverer", "mirror", 2)


def arm_the_worker_alone(owner: Preloaded, case: Case) -> None:
    """Points are counted in each process: the fourth mirror, that of the first answer, is the first of a worker."""
    if owner.worker and case.commit == "mirror" and case.number > len(ASKED):
        owner.fault, owner.fault_of_worker = "", replace(case, number=case.number - len(ASKED)).fault


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=[pytest.mark.in_process] if only_in_process(case) else []) for case in CASES],
    ids=str,
)
def test_whatever_a_process_leaves_at_a_commit_others_end_and_nothing_shown_is_lost(
    outcomes: dict[Case, Future[str]], case: Case
) -> None:
    print(f"\n{case}: {outcomes[case].result()}", flush=True)


def strike_the_owner(world: World, case: Case) -> str:
    owner, other = world.server(case.fault), world.server()
    arm_the_worker_alone(owner, case)
    # Nobody but the owner promotes before it is struck.
    start_all(owner, *([] if case.commit == "promote" else [other]))
    readers = world.send_all(owner)
    if case.commit == "promote":
        stop_hung(world, owner, readers["hung"])
    assert eventually(owner.struck), f"{case.fault} was never reached"
    if case.commit == "promote":
        start_all(other)
    # The thread is busy still: who has seen no answer to "next" sends it once more, to wait like the first one.
    impatient = world.send(world.client(other), "next") if case.commit == "enqueue" else None
    seconds = world.until_all_have_ended()
    retried = assert_retries_are_the_same_turns(world, other, readers)
    turns = world.ended()
    assert impatient is None or impatient.whole() == turns["next"].stream
    assert_what_waited_was_begun(case, turns)
    if case.how == "kill":
        assert_shown_is_stored(turns, readers)
    else:
        assert_a_late_riser_writes_nothing(world, owner, turns, readers)
    return f"all ended after {seconds:.1f} s, {summary(turns)}, {retried} only begun by the retry"


def assert_what_waited_was_begun(case: Case, turns: dict[str, EndedTurn]) -> None:
    """Who died before it promoted leaves a turn that waits, for another to run; after it, one that runs, to end."""
    if "next" in case.asked:
        left_running = case.commit == "promote" and case.side == "after"
        assert turns["next"].status == ("interrupted" if left_running else "completed"), turns["next"].status
        # A worker of the one that died may have begun it, and said a word.
        may_have_spoken = left_running and conf.get("RUNNER") == "worker"
        assert may_have_spoken or left_running == (not turns["next"].text)
        by_hand = case.commit == "promote" and case.who == "owner"
        assert turns["hung"].status == ("stopped" if by_hand else "interrupted"), turns["hung"].status


def wake_the_owner_under_its_heir(world: World, case: Case) -> str:
    """Here nothing but the epoch keeps the owner's writes out: the turns are streaming still, under another's."""
    # What was not promoted is inherited by a promotion; what runs, by a recovery that goes no further.
    waits = (case.commit, case.side) == ("promote", "before")
    # With its long lease the owner does not take its turns back by itself.
    owner = world.server(case.fault, lease=5 * LEASE)
    heir = world.server("promote:after#1:pause" if waits else "recover:before#1:pause")
    start_all(owner)
    readers = world.send_all(owner)
    if case.commit == "promote":
        stop_hung(world, owner, readers["hung"])
    assert eventually(owner.struck), f"{case.fault} was never reached"
    assert eventually(lambda: not world.live_leases()), "the leases did not run out"
    heir.launch()
    assert eventually(heir.struck), "the heir has taken nothing over"
    taken = world.database.turns()
    before = rows_of(taken, world.database.ask)
    owner.send(signal.SIGCONT)
    assert_nothing_comes_late(world, owner)
    assert rows_of(taken, world.database.ask) == before, "it wrote into what is its heir's"
    heir.send(signal.SIGCONT)
    hung = readers["hung"]  # what was sent to the sleeper begins when it wakes up
    assert eventually(lambda: b'"text-delta"' in hung.received or sse.DONE in hung.received)
    stop_hung(world, owner, hung)
    streams = {turn: reader.whole() for turn, reader in readers.items()}
    seconds = world.until_all_have_ended()
    turns = world.ended()
    assert streams == {turn: turns[turn].stream for turn in streams}
    assert "interrupted" in {turn.status for turn in turns.values()}, "the heir had nothing to end"
    return f"all ended after {seconds:.1f} s, {summary(turns)}"


def strike_the_recoverer(world: World, case: Case) -> str:
    owner, recoverer, third = world.server(), world.server(case.fault), world.server()
    start_all(owner)
    readers = world.send_all(owner)
    owner.send(signal.SIGKILL)
    for reader in readers.values():
        reader.join(10)
    assert eventually(lambda: not world.live_leases()), "the leases did not run out"
    recoverer.launch()  # and strikes at its first beat
    assert eventually(recoverer.struck), f"{case.fault} was never reached"
    start_all(third)
    seconds = world.until_all_have_ended()
    assert assert_retries_are_the_same_turns(world, third, readers) == 0
    turns = world.ended()
    assert_what_waited_was_begun(case, turns)
    assert_shown_is_stored(turns, readers)
    if case.how == "pause":
        assert_a_late_riser_writes_nothing(world, recoverer, turns, {})
    return f"all ended after {seconds:.1f} s, {summary(turns)}"

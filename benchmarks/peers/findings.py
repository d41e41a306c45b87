"""Everything that is measured of one peer, and how."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from statistics import median

from benchmarks.client import TICK, Client, Span
from benchmarks.peers import load, probes
from benchmarks.peers.install import NotInstalled
from benchmarks.peers.peer import Peer
from benchmarks.peers.place import Place
from benchmarks.processes import quiet
from benchmarks.report import say

RATE = 50  # tokens a second and turn
ALONE = 1
# Cores that others may use of the machine before a round counts as disturbed.
DISTURBED = 0.4
# Milliseconds after which a token is late.
LATE = 1000


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything."""

    light: int = 20  # turns at once
    heavy: int = 200
    seconds: float = 4.0
    rounds: int = 3
    ramp: float = 1.5
    warm: float = 1.5
    live: int = 100  # turns whose memory is looked at, at so many tokens a second, when they have told so many
    slow: float = 1.0
    told: int = 10
    answer: int = 80  # tokens of an answer that is reloaded, killed or asked for twice
    patience: float = 30.0
    lease: str = "30"  # seconds; ours. The default, but where nobody wants to wait for it


QUICK = Sizes(
    light=5,
    heavy=10,
    seconds=0.5,
    rounds=1,
    ramp=0.2,
    warm=0.5,
    live=20,
    slow=20,
    told=10,
    answer=30,
    patience=0,
    lease="3",
)


@dataclass(frozen=True, slots=True)
class Load:
    """One window of load: what the client saw, and the CPU seconds of PostgreSQL and Redis for all of it."""

    offered: float  # tokens a second
    span: Span | None  # None: it did not come to an end
    beside: float

    @property
    def per_cpu_second(self) -> float:
        """Tokens delivered per CPU second of the server while all turns are live."""
        return self.span.per_cpu_second if self.span else 0.0

    @property
    def whole(self) -> float:
        """The same from before the first request to behind the last answer."""
        return self.span.whole_per_cpu_second if self.span else 0.0

    @property
    def with_beside(self) -> float:
        """The same with the CPU seconds of PostgreSQL and Redis."""
        return self.span.whole_tokens / max(self.span.whole_server + self.beside, TICK) if self.span else 0.0

    @property
    def in_time(self) -> float:
        """Which part of the offered tokens came within a second."""
        if self.span is None:
            return 0.0
        timely = sum(delay < LATE for delay in self.span.delays)
        return min(1.0, timely / self.span.seconds / self.offered)

    @property
    def calm(self) -> bool:
        return self.span is not None and self.span.steady and self.span.others / self.span.seconds <= DISTURBED


@dataclass(slots=True)
class Findings:
    """What was found of one peer; ``missing`` says why there is nothing."""

    title: str
    how: str
    keeps: str
    missing: str = ""
    loads: dict[int, list[Load]] = field(default_factory=lambda: defaultdict(list))
    memory: float | None = None  # bytes for each live turn
    reload: str = ""
    reconnect: str = ""
    kill: dict[str, str] = field(default_factory=dict)
    double: dict[str, str] = field(default_factory=dict)

    def figure(self, turns: int, what: str) -> float | None:
        """The median over the rounds of a property of the loads; None where the load was not borne."""
        kept = self._kept(turns)
        return median(getattr(load, what) for load in kept) if kept else None

    def delay(self, turns: int, quantile: float) -> float | None:
        """Milliseconds from the agent to the reader, the median over the rounds; None where no token came in time."""
        spans = [load.span for load in self._kept(turns) if load.span and load.span.delays]
        return median(span.delay(quantile) for span in spans) if spans else None

    def _kept(self, turns: int) -> list[Load]:
        """The calm rounds where they are the most, else all that came to an end."""
        measured = [load for load in self.loads[turns] if load.span]
        calm = [load for load in measured if load.calm]
        return calm if len(calm) > len(measured) / 2 else measured

    def in_time(self, turns: int) -> float:
        """Which part, in percent, of the offered tokens came within a second of their making. What was stuck and then
        comes at once is late, however much it is; a load that did not come to its end counts as none.
        """
        parts = [load.in_time for load in self.loads[turns]]
        return median(parts) * 100


def find(wanted: list[type[Peer]], sizes: Sizes) -> list[Findings]:
    """All figures and observations of the wanted peers, in their order."""
    client = Client()
    try:
        with Place(sizes.lease) as place:
            found, peers = [], []
            for kind in wanted:
                findings = Findings(kind.title, kind.how, kind.keeps)
                found.append(findings)
                try:
                    peers.append((kind(place), findings))
                except NotInstalled as reason:
                    findings.missing = str(reason)
                    say(f"{kind.title}: {reason}")
            # While the servers are fresh: memory that was used before hides what is new.
            for peer, findings in peers:
                quiet(DISTURBED, sizes.patience)
                findings.memory = client.run(load.memory, peer.target, peer.dialect, sizes.live, sizes.slow, sizes.told)
                say(f"{peer.title}: {findings.memory} bytes for a live turn")
                _relieved(peer, findings.memory)
            _loads(client, place, peers, sizes)
            for peer, findings in peers:
                _probed(peer, findings, sizes)
            return found
    finally:
        client.close()


def _loads(client: Client, place: Place, peers: list[tuple[Peer, Findings]], sizes: Sizes) -> None:
    """All peers one after the other, again and again: what disturbs the machine disturbs all."""
    for _ in range(sizes.rounds):
        for turns in (ALONE, sizes.light, sizes.heavy):
            for peer, findings in peers:
                if any(load.span is None for load in findings.loads[turns]):
                    continue  # it does not bear it
                quiet(DISTURBED, sizes.patience)
                beside = place.beside()
                span = client.run(
                    load.paced,
                    peer.target,
                    peer.dialect,
                    turns,
                    RATE,
                    seconds=sizes.seconds,
                    ramp=sizes.ramp,
                    warm=sizes.warm,
                )
                findings.loads[turns].append(Load(turns * RATE, span, place.beside() - beside))
                say(f"{peer.title}, {turns} turns: {_line(span)}")
                _relieved(peer, span)


def _relieved(peer: Peer, found: object) -> None:
    """Begin anew with a server that did not get through: what it has left to do would disturb the others."""
    if found is None:
        peer.server.kill()
        peer.restart()


def _probed(peer: Peer, findings: Findings, sizes: Sizes) -> None:
    findings.reload = probes.reload(peer, sizes.answer)
    findings.reconnect = probes.reconnect(peer, sizes.answer)
    findings.double = probes.double(peer, sizes.answer)
    findings.kill = probes.kill(peer, sizes.answer)
    for words in (findings.reload, findings.reconnect, findings.double, findings.kill):
        say(f"{peer.title}: {words}")


def _line(span: Span | None) -> str:
    if span is None:
        return "did not come to an end"
    return span.line() if span.delays else f"no token came in time, {span.whole_tokens} in all"

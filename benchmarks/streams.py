"""The stream rows of the numbers to reach, each against its baseline in the same run::

python -m benchmarks.streams [--quick] [--turns 200] [--seconds 4] [--rounds 5] [--json FILE]
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks import client
from benchmarks.client import Client, Span, Target
from benchmarks.processes import quiet
from benchmarks.report import Row, hand_on, say
from benchmarks.stage import Stage
from benchmarks.statements import logged, reads_of_the_log, trips_of_a_turn

RATE = 50  # tokens a second and turn
FAST = 500  # the same of the turn that many read
READERS = 50
BARE = "bare"
# Cores that others may use of the machine before a round counts as disturbed; how full the client may be.
DISTURBED, SATURATED = 0.4, 0.8


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything."""

    turns: int = 200
    seconds: float = 4.0
    rounds: int = 5
    readers: int = READERS
    idle: int = 2000
    firsts: int = 10  # in each round
    ramp: float = 1.5
    warm: float = 1.5
    patience: float = 30.0  # seconds to wait for a quiet machine in front of each round


QUICK = Sizes(turns=10, seconds=0.5, rounds=1, readers=5, idle=20, firsts=2, ramp=0.2, warm=0.3, patience=0)


class Benchmark:
    """All measurements on one stage, by one client."""

    def __init__(self, stage: Stage, load: Client, sizes: Sizes) -> None:
        self.stage, self.load, self.sizes = stage, load, sizes
        self.bare_tokens = 0.0  # tokens per CPU second of the bare view, for rows that have no baseline of their own

    def rows(self, servers: list[str], modes: list[str]) -> Iterator[Row]:
        kind, *others = servers
        names = [BARE, *modes]
        targets = dict(zip(names, self._start([(kind, name) for name in names]), strict=True))
        bare, subject = targets[BARE], targets[modes[0]]
        spans = self._interleaved(targets)
        self.bare_tokens = median(span.per_cpu_second for span in spans[BARE])
        yield self._tokens(kind, modes[0], spans)
        yield from self._delays(f"{self.sizes.turns} turns", spans[BARE], spans[modes[0]], 25, 80)
        alone = self._interleaved({BARE: bare, modes[0]: subject}, turns=1)
        yield from self._delays("one turn alone", alone[BARE], alone[modes[0]], 5, None)
        yield self._first_chunk(bare, subject)
        yield from self._trips(subject)
        yield from self._fan_out(subject)
        for mode in modes[1:]:
            yield self._tokens(kind, mode, spans)
            yield from self._delays(f"{self.sizes.turns} turns, {mode}", spans[BARE], spans[mode], None, None)
        self._stop(targets)

        yield from self._idle(kind)
        for other in others:
            targets = dict(zip([BARE, modes[0]], self._start([(other, BARE), (other, modes[0])]), strict=True))
            spans = self._interleaved(targets)
            yield self._tokens(other, modes[0], spans)
            yield from self._delays(f"{self.sizes.turns} turns, {other}", spans[BARE], spans[modes[0]], None, None)
            self._stop(targets)

    def _start(self, wanted: list[tuple[str, str]]) -> list[Target]:
        def start(what: tuple[str, str]) -> Target:
            kind, name = what
            return self.stage.serve_bare(kind) if name == BARE else self.stage.serve(kind, CHAT_DURABILITY=name)

        with ThreadPoolExecutor() as pool:
            return list(pool.map(start, wanted))

    def _stop(self, targets: dict[str, Target]) -> None:
        with ThreadPoolExecutor() as pool:
            list(pool.map(self.stage.stop, targets.values()))

    def _interleaved(self, targets: dict[str, Target], turns: int | None = None) -> dict[str, list[Span]]:
        """One measurement of each target after the other, again and again: what disturbs the machine disturbs all.

        Disturbed rounds are repeated, up to twice as many in all; where there are enough of the others, they are
        left out.
        """
        sizes = self.sizes
        rounds: list[dict[str, Span]] = []
        calm: list[dict[str, Span]] = []
        while len(calm) < sizes.rounds and len(rounds) < 2 * sizes.rounds:
            found = {}
            for name, target in targets.items():
                quiet(DISTURBED, sizes.patience)
                found[name] = self.load.run(
                    client.paced,
                    target,
                    turns or sizes.turns,
                    RATE,
                    seconds=sizes.seconds,
                    ramp=sizes.ramp if turns != 1 else 0.0,
                    warm=sizes.warm,
                )
                say(f"{name}: {found[name].line()}")
            rounds.append(found)
            if all(map(_is_calm, found.values())):
                calm.append(found)
        kept = calm if len(calm) > sizes.rounds / 2 else rounds
        return {name: [found[name] for found in kept] for name in targets}

    def _tokens(self, kind: str, mode: str, spans: dict[str, list[Span]]) -> Row:
        pairs = list(zip(spans[mode], spans[BARE], strict=True))
        ratios = [ours.per_cpu_second / bare.per_cpu_second for ours, bare in pairs]
        main = kind == "uvicorn" and mode == "sync"
        return Row(
            f"{kind}, {mode}: {self.sizes.turns} turns, tokens per CPU second",
            median(ours.per_cpu_second for ours, _ in pairs),
            "",
            median(bare.per_cpu_second for _, bare in pairs),
            "ratio",
            value=median(ratios),
            spread=(min(ratios), max(ratios)),
            at_least=1.0 if main else None,
            doubtful=not all(_is_calm(span) for pair in pairs for span in pair),
            note=self._circumstances(pairs),
        )

    def _circumstances(self, pairs: list[tuple[Span, Span]]) -> str:
        whole = median(ours.whole_per_cpu_second / bare.whole_per_cpu_second for ours, bare in pairs)
        ours = [ours for ours, _ in pairs]
        cores = {
            "server": median(span.server / span.seconds for span in ours),
            "PostgreSQL": median(span.postgres / span.seconds for span in ours),
            "client": median(span.client / span.seconds for span in ours),
            "others on this machine": median(span.others / span.seconds for span in ours),
        }
        with_postgres = median(
            ours.tokens / (ours.server + ours.postgres) / bare.per_cpu_second for ours, bare in pairs
        )
        offered = self.sizes.turns * RATE
        kept_up = min(span.tokens / span.seconds for pair in pairs for span in pair) / offered
        words = [
            f"with opening and ending x {whole:.2f}; with PostgreSQL's CPU x {with_postgres:.2f}",
            "cores: " + ", ".join(f"{name} {used:.2f}" for name, used in cores.items()),
            f"{len(pairs)} pairs",
        ]
        if kept_up < 0.97:
            words.append(f"only {kept_up:.0%} of the offered tokens came in time")
        if cores["client"] > SATURATED:
            words.append("the client was saturated")
        if not all(span.complete for span in ours):
            words.append("TOKENS WERE LOST")
        return "; ".join(words)

    def _delays(
        self, what: str, bare: list[Span], ours: list[Span], p50: float | None, p99: float | None
    ) -> Iterator[Row]:
        for quantile, bar in ((0.5, p50), (0.99, p99)):
            yield Row(
                f"{what}: delay p{quantile * 100:.0f}",
                median(span.delay(quantile) for span in ours),
                "ms",
                median(span.delay(quantile) for span in bare),
                "over",
                at_most=bar,
                doubtful=not all(_is_calm(span) for span in (*bare, *ours)),
            )

    def _first_chunk(self, bare: Target, subject: Target) -> Row:
        found: dict[Target, list[float]] = {bare: [], subject: []}
        calm = True
        for _ in range(self.sizes.rounds):
            for target, times in found.items():
                calm = quiet(DISTURBED, self.sizes.patience) and calm
                times += self.load.run(client.first_chunks, target, self.sizes.firsts)
        return Row(
            "time to first chunk, idle, p50",
            median(found[subject]),
            "ms",
            median(found[bare]),
            "over",
            at_most=6,
            doubtful=not calm,
            note="a new thread each time; authentication, connection and the commit of the first chunks included",
        )

    def _trips(self, subject: Target) -> Iterator[Row]:
        trips = trips_of_a_turn(self.stage, subject)
        around = f"{len(trips.authenticate)} to authenticate, {trips.checks} of the pool asking whether it is connected"
        yield Row(
            "statements to begin a turn",
            len(trips.begin),
            "",
            at_most=3,
            note=f"as PostgreSQL logs them, in a thread that is there; besides: {around}",
        )
        yield Row("statements to finish a turn", len(trips.finish), "", at_most=3)

    def _fan_out(self, subject: Target) -> Iterator[Row]:
        sizes, spans = self.sizes, []
        with logged(self.stage) as log:
            for _ in range(sizes.rounds):
                quiet(DISTURBED, sizes.patience)
                spans.append(
                    self.load.run(client.fan_out, subject, sizes.readers, FAST, seconds=sizes.seconds, warm=sizes.warm)
                )
                say(f"fan-out: {spans[-1].line()}")
            reads = reads_of_the_log(log.take())
        what = f"{sizes.readers} readers of one turn, {FAST} tokens/s"
        yield Row(f"{what}: reads of the log", reads, "", at_most=0)
        speeds = [span.per_cpu_second for span in spans]
        yield Row(
            f"{what}: chunks per CPU second",
            median(speeds),
            "",
            self.bare_tokens,
            "itself",
            at_least=100_000,
            doubtful=not all(map(_is_calm, spans)),
            note=f"baseline: the bare view's tokens with {sizes.turns} turns; "
            f"delay p50 {median(span.delay(0.5) for span in spans):.1f} ms; "
            f"client {median(span.client / span.seconds for span in spans):.2f} cores",
        )

    def _idle(self, kind: str) -> Iterator[Row]:
        bare, subject = self._start(
            [(kind, BARE), (kind, "sync")]
        )  # fresh: memory that was used before hides what is new
        number = self.sizes.idle
        found = [self.load.run(client.idle, target, number, self.stage.dsn) for target in (bare, subject)]
        self._stop({BARE: bare, "sync": subject})
        what = f"{number:,} readers open and idle"
        yield Row(
            f"{what}: database connections held",
            found[1].connections - found[1].connections_before,
            "",
            at_most=0,
            note=f"the server has {found[1].connections_before}, with or without them",
        )
        yield Row(
            f"{what}: resident memory each",
            found[1].bytes_each / 1024,
            "KB",
            found[0].bytes_each / 1024,
            "itself",
            at_most=30,
        )


def _is_calm(span: Span) -> bool:
    """Whether what was seen was the server, and not a machine that had no time for it."""
    return span.steady and span.others / span.seconds <= DISTURBED


def measure(sizes: Sizes, servers: list[str], modes: list[str]) -> list[Row]:
    """All rows, printed as they are found."""
    load = Client()
    rows = []
    try:
        with Stage() as stage:
            for row in Benchmark(stage, load, sizes).rows(servers, modes):
                rows.append(row)
                say("  ".join(cell for cell in row.cells() if cell))
    finally:
        load.close()
    return rows


def main() -> None:
    # How the servers are started is read from the project's settings.
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatproject.settings")
    os.environ.setdefault("DEBUG", "1")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streams", description=__doc__.partition("::")[0])
    usual = Sizes()
    parser.add_argument("--turns", type=int, default=usual.turns, help="concurrent turns (%(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=usual.seconds, help="of steady load in a measurement (%(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=usual.rounds, help="pairs of measurements (%(default)s)")
    parser.add_argument("--idle", type=int, default=usual.idle, help="readers that only wait (%(default)s)")
    parser.add_argument(
        "--patience", type=float, default=usual.patience, help="seconds to wait for a quiet machine (%(default)s)"
    )
    parser.add_argument("--servers", default="uvicorn,daphne,granian", help="the first one gets all rows (%(default)s)")
    parser.add_argument("--modes", default="sync,async,exit", help="of durability (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there as well")
    parser.add_argument("--quick", action="store_true", help="tiny numbers: that it runs, not what it finds")
    options = parser.parse_args()
    sizes = QUICK
    if not options.quick:
        sizes = Sizes(
            turns=options.turns,
            seconds=options.seconds,
            rounds=options.rounds,
            idle=options.idle,
            patience=options.patience,
        )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # with the servers, not without
    begun = time.monotonic()
    rows = measure(sizes, options.servers.split(","), options.modes.split(","))
    hand_on(rows, time.monotonic() - begun, options.json)


if __name__ == "__main__":
    main()

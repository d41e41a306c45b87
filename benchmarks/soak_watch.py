"""What a soak looks at while it runs, and what its figures say at the end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, linear_regression, median
from typing import Any

import psutil
import psycopg

from benchmarks.processes import cpu_of_tree
from benchmarks.report import Row

MB = 1 << 20
BLOCKS = 12  # means of so many pieces of the time are fitted: samples that follow each other are not independent
WARM = 0.25  # of the time: what grows in it is caches, pools and tables on the way to their size
# What grows by promise: usage outlives what it paid for, and each run of the command leaves a row.
KEPT = ("token_usage", "copilot_reconcile_runs")

TABLES = """
SELECT relname, pg_total_relation_size(oid), pg_indexes_size(oid)
  FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname ~ '^(chat|copilot|token)_'
"""
STATE = """
SELECT (SELECT count(*) FROM pg_stat_activity
         WHERE backend_type = 'client backend' AND datname = current_database() AND pid <> pg_backend_pid()),
       (SELECT count(*) FROM chat_turns WHERE status = 'streaming'),
       (SELECT count(*) FROM chat_stream_events),
       (SELECT coalesce(max(extract(epoch FROM clock_timestamp() - heartbeat_at)), 0)::float8
          FROM chat_turns WHERE status = 'streaming')
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look. Sizes are in MB; what is of a process is by its slot, for those that are up."""

    seconds: float  # since the soak began
    memory: dict[int, float]
    files: dict[int, int]
    connections: int
    live_turns: int
    log_rows: int
    oldest_lease: float  # seconds since the heartbeat of the live turn that has waited longest for one
    tables: float  # with their indexes, without what is kept for good
    indexes: float
    kept: float
    acts: int

    def line(self) -> str:
        memory = "/".join(f"{megabytes:.0f}" for _, megabytes in sorted(self.memory.items()))
        return (
            f"{self.seconds:5.0f} s  {self.acts} acts, {self.live_turns} live, RSS {memory} MB, "
            f"{self.connections} connections, tables {self.tables:.1f} MB, log {self.log_rows:,} rows, "
            f"oldest lease {self.oldest_lease:.0f} s"
        )


def look(seconds: float, dsn: str, pids: dict[int, int], acts: int) -> Sample:
    """Take a sample of the processes ``pids`` and of the database."""
    memory, files = {}, {}
    for slot, pid in pids.items():
        try:
            process = psutil.Process(pid)
            memory[slot], files[slot] = process.memory_info().rss / MB, process.num_fds()
        except psutil.NoSuchProcess:
            memory.pop(slot, None)  # killed meanwhile
    with psycopg.connect(dsn, autocommit=True) as connection:
        sizes = {name: (total / MB, indexes / MB) for name, total, indexes in connection.execute(TABLES)}
        state = connection.execute(STATE).fetchone()
    assert state
    lasting = [size for name, size in sizes.items() if name not in KEPT]
    return Sample(
        seconds=seconds,
        memory=memory,
        files=files,
        connections=state[0],
        live_turns=state[1],
        log_rows=state[2],
        oldest_lease=state[3],
        tables=sum(total for total, _ in lasting),
        indexes=sum(indexes for _, indexes in lasting),
        kept=sum(sizes[name][0] for name in KEPT),
        acts=acts,
    )


class Work:
    """CPU seconds of the servers, killed ones included as far as they were looked at, and of PostgreSQL."""

    def __init__(self, postgres: int) -> None:
        self._postgres = postgres
        self._last: dict[int, float] = {}
        self.seconds = 0.0

    def look(self, pids: Sequence[int]) -> float:
        """What was used since the last look."""
        now = {}
        for pid in (*pids, self._postgres):
            try:
                now[pid] = cpu_of_tree(pid)
            except psutil.NoSuchProcess:
                continue
        first = not self._last
        used = sum(
            seconds - self._last.get(pid, seconds if pid == self._postgres else 0) for pid, seconds in now.items()
        )
        self._last = now
        self.seconds += 0 if first else used
        return 0.0 if first else used


@dataclass(frozen=True, slots=True)
class Slope:
    """A line through means of blocks: change per hour, and the standard error of that."""

    per_hour: float
    error: float


def slope(points: Sequence[tuple[float, float]]) -> Slope:
    """Fit (seconds, figure). With fewer than three blocks nothing can be said: the error is infinite."""
    size = max(1, math.ceil(len(points) / BLOCKS))
    blocks = [points[at : at + size] for at in range(0, len(points), size)]
    x = [fmean(at for at, _ in block) / 3600 for block in blocks]
    y = [fmean(figure for _, figure in block) for block in blocks]
    if len(blocks) < 3:
        return Slope(0.0, math.inf)
    fit = linear_regression(x, y)
    off = sum((b - fit.intercept - fit.slope * a) ** 2 for a, b in zip(x, y, strict=True))
    spread = sum((a - fmean(x)) ** 2 for a in x)
    return Slope(fit.slope, math.sqrt(off / (len(blocks) - 2) / spread))


def halves(figures: Sequence[float]) -> tuple[float, float]:
    """The medians of the first and of the second half."""
    middle = len(figures) // 2
    return median(figures[:middle] or figures), median(figures[middle:])


def judged(samples: Sequence[Sample], ends: dict[str, Any]) -> list[Row]:
    """The rows of a soak. ``ends`` is what was counted beside the samples."""
    warm = [one for one in samples if one.seconds >= samples[-1].seconds * WARM]
    memory = slope([(one.seconds, one.memory[0]) for one in warm])
    connections, files = halves([one.connections for one in warm]), halves([one.files[0] for one in warm])
    tables = halves([one.tables for one in warm])
    bar = 1.0
    return [
        Row(
            "resident memory of the server that lives on, per hour",
            memory.per_hour,
            "MB",
            at_most=bar,
            doubtful=abs(memory.per_hour - bar) < 2 * memory.error,
            doubt="too short to tell",
            note=f"standard error {memory.error:.1f}; {warm[0].memory[0]:.0f} MB at first, {warm[-1].memory[0]:.0f} at"
            f" last; the most of any server {max(max(one.memory.values()) for one in samples):.0f} MB",
        ),
        Row(
            "connections to PostgreSQL, second half over first",
            connections[1],
            "",
            connections[0],
            "over",
            at_most=2,
            note=f"the most {max(one.connections for one in samples)}",
        ),
        Row("open files of the server that lives on, the same", files[1], "", files[0], "over", at_most=3),
        Row(
            "tables and indexes under retention, the same",
            tables[1],
            "MB",
            tables[0],
            "ratio",
            at_most=1.1,
            note=f"indexes {warm[-1].indexes:.1f} MB of {warm[-1].tables:.1f}; what is kept for good grew to"
            f" {warm[-1].kept:.1f} MB; rows of logs at most {max(one.log_rows for one in samples):,}",
        ),
        Row("a live turn without a heartbeat, at most", max(one.oldest_lease for one in samples), "s", at_most=45),
        Row("answers and streams that were not as they must be", len(ends["faults"]), "", at_most=0),
        Row("errors in the servers' logs", sum(ends["errors"].values()), "", at_most=0),
        Row("drift of the mirror at the end", ends["drift"], "", at_most=0),
        Row(
            "turns whose log folds to what is stored", ends["sound"], "", note="every one whose log was not pruned yet"
        ),
        Row("turns begun", ends["turns"], "", note=ends["endings"]),
        Row("servers killed", ends["kills"], "", note="kill -9, at random"),
        Row("cores used by servers and PostgreSQL", ends["cores"], "", note=f"of {psutil.cpu_count()}"),
    ]


def as_json(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    return [asdict(one) for one in samples]

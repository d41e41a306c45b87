"""What a soak found as a page, with pictures beside it."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.curves import curves
from benchmarks.report import HEADINGS, Row, commit
from benchmarks.soak_watch import Sample

FAULT_CHARS = 200
TOLD = """# Soak

Written by `make soak`: {minutes:.0f} minutes of mixed load on three servers and one PostgreSQL, {cores} cores in all,
Python {python}, commit {commit}. Two of the servers are killed with `kill -9` at random (grey lines) and started again;
the first one lives on, and its memory is the one that is fitted, over all but the first quarter. Visitors send, retry,
read along over SSE and WebSocket in other processes, stop, regenerate, edit, decide, attach, search and delete, in
threads and copilot chats; each turn is read again from its start at some other server and must be the same bytes.
`prune_streams`, `purge_threads`, `reconcile_messages` and `recover_turns` run in turns beside it. In the first sixth
nobody pauses, so that caches and pools come to their size; up to the quarter the pause between two acts is set, so that
servers and PostgreSQL use a fifth of the machine.
"""


def write(
    path: Path, rows: Sequence[Row], samples: Sequence[Sample], kills: Sequence[float], ends: dict[str, Any]
) -> None:
    """Write the page to ``path`` and its pictures into a folder of the same name."""
    folder = path.with_suffix("")
    folder.mkdir(exist_ok=True)
    pictures = _pictures(samples, [at / 60 for at in kills])
    for name, picture in pictures.items():
        (folder / f"{name}.svg").write_text(picture)
    about = TOLD.format(
        minutes=samples[-1].seconds / 60, cores=os.cpu_count(), python=platform.python_version(), commit=commit()
    )
    lines = [about, f"| {' | '.join(HEADINGS)} | |", "|---" * (len(HEADINGS) + 1) + "|"]
    lines += [f"| {' | '.join(row.cells())} | {row.note} |" for row in rows]
    lines += ["", "Acts: " + _counted(ends["acts"]) + ".", "", "Answers by status: " + _counted(ends["answers"]) + "."]
    lines += wrong(ends)
    lines += ["", *(f"![{name}]({folder.name}/{name}.svg)" for name in pictures), ""]
    path.write_text("\n".join(lines))


def wrong(ends: dict[str, Any]) -> list[str]:
    """What was not as it must be, each kind once: faults hold ids and codes, errors are the servers' events."""
    faults = Counter(" ".join(fault.split())[:FAULT_CHARS] for fault in ends["faults"])
    lines = [f"- {number} x {fault}" for fault, number in faults.most_common()]
    lines += [f"- {number} x logged: {event}" for event, number in ends["errors"].items()]
    return ["", "What was not as it must be:", "", *lines] if lines else []


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{what.replace('_', ' ')} {number:,}" for what, number in counts.items())


def _pictures(samples: Sequence[Sample], marks: Sequence[float]) -> dict[str, str]:
    def line(figure: Any) -> list[tuple[float, float]]:
        found = ((one.seconds / 60, figure(one)) for one in samples)
        return [(at, value) for at, value in found if value is not None]

    memory = {
        "the server that lives on": line(lambda one: one.memory.get(0)),
        "one that is killed": line(lambda one: one.memory.get(1)),
        "another": line(lambda one: one.memory.get(2)),
    }
    sizes = {
        "tables with indexes": line(lambda one: one.tables),
        "indexes of them": line(lambda one: one.indexes),
        "kept for good": line(lambda one: one.kept),
    }
    counts = {
        "connections": line(lambda one: one.connections),
        "live turns": line(lambda one: one.live_turns),
        "files of the server that lives on": line(lambda one: one.files.get(0)),
        "oldest lease, s": line(lambda one: one.oldest_lease),
    }
    rows = {"rows of logs": line(lambda one: one.log_rows)}
    return {
        "memory": curves("Resident memory, MB", "minutes", memory, marks=marks),
        "tables": curves("Tables under retention, MB", "minutes", sizes, marks=marks),
        "connections": curves("Connections, turns, files, leases", "minutes", counts, marks=marks),
        "log": curves("Rows of chat_stream_events", "minutes", rows, marks=marks),
    }

"""A soak: mixed load on three servers at a fifth of the machine, two of which are killed at random, while everything
that could grow is watched::

    python -m benchmarks.soak [--seconds 3600] [--json FILE] [--page docs/proof-soak.md]

Exit code 1 where a bar is missed, or an invariant of the database is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import orjson
import psutil
import psycopg

from benchmarks.report import hand_on, say
from benchmarks.soak_acts import Place, Visitor
from benchmarks.soak_page import write
from benchmarks.soak_watch import Sample, Work, as_json, judged, look
from benchmarks.stage import PRODUCTION, Stage
from chat.management.commands.serve import SERVERS
from chat.testing.invariants import assert_database_is_sound, assert_invariants
from tests.acceptance.server import ROOT, DemoServer

SLOTS = 3  # the first one is never killed: its memory is looked at
VISITORS = 8  # few, so that each has soon made and left as many conversations as it keeps
SHARE = 0.2  # of the machine's cores that servers and PostgreSQL shall use
DAY = 86_400
LOGGED = "EXISTS (SELECT FROM chat_stream_events s WHERE s.turn_id = t.id)"
UNENDED = "SELECT id FROM chat_turns WHERE finished_at IS NULL"


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds, in proportion to the length of the soak, with an end where more would say no more."""

    whole: float

    @property
    def hurry(self) -> float:
        """For how long, at first, nobody pauses: so that caches, pools and malloc's arenas come to their size."""
        return self.whole / 6

    @property
    def look(self) -> float:
        return min(15.0, max(1.0, self.whole / 240))

    @property
    def kill(self) -> float:
        return min(60.0, self.whole / 5)

    @property
    def command(self) -> float:
        return min(60.0, self.whole / 6)

    @property
    def kept(self) -> float:
        """For how long a log, and a thread in the trash, is kept."""
        return min(300.0, max(10.0, self.whole / 10))


async def carried(
    tasks: list[asyncio.Task[None]], seconds: float, over: asyncio.Event, patience: float = 120
) -> set[asyncio.Task[None]]:
    """Let all of them go on for ``seconds``, or until the first one breaks; then set ``over``, and let each come to the
    end of what it does. Returns those that come to none within ``patience`` seconds. Raises what broke, a transient
    breach as well: nothing in the database need tell of it any more.
    """
    done, running = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    over.set()
    say(f"the end{' of one of its parts' if done else ''}: waiting for what is under way")
    ended, late = await asyncio.wait(running, timeout=patience) if running else (set(), set())
    for task in late:
        task.cancel()
    for task in (*done, *ended):
        task.result()
    return late


class Soak:
    def __init__(self, stage: Stage, times: Times) -> None:
        self.stage, self.times = stage, times
        self.dsn = stage.database()
        settings = {"CHAT_AGENT": "", "DATABASE_URL": self.dsn, "LOG_FORMAT": "json", "LOG_LEVEL": "WARNING"}
        settings |= {"SECURE_SSL_REDIRECT": "0", "MALLOC_ARENA_MAX": "2"}  # as the image has it
        self.servers = [DemoServer(stage.folder, prepared=True, **{**PRODUCTION, **settings}) for _ in range(SLOTS)]
        self.place = Place([one.url for one in self.servers], stage.token, [False] * SLOTS, [0] * SLOTS)
        self.samples: list[Sample] = []
        self.kills: list[float] = []
        self.work = Work(stage.postgres)
        self.begun = time.monotonic()
        self.pause = 2.0  # seconds that a visitor waits between two acts, about
        self.over = asyncio.Event()

    @property
    def now(self) -> float:
        return time.monotonic() - self.begun

    async def run(self) -> dict[str, Any]:
        """All of it; what was counted."""
        try:
            await asyncio.gather(*(self._start(slot) for slot in range(SLOTS)))
            self.begun = time.monotonic()
            tasks = [asyncio.create_task(one) for one in (self._watch(), self._kill(), self._keep_house())]
            tasks += [asyncio.create_task(self._visit(Visitor(self.place))) for _ in range(VISITORS)]
            late = await carried(tasks, self.times.whole, self.over)
            self.place.faults += [f"an act that comes to no end: {task}" for task in late]
            cores = self.work.seconds / self.samples[-1].seconds
            return {**await self._looked_over(), "cores": cores, "kills": len(self.kills)}
        finally:
            await self.place.close()
            for server in self.servers:
                server.stop()

    async def _looked_over(self) -> dict[str, Any]:
        """What the database holds when all is over."""
        deadline = time.monotonic() + 60
        while (left := self._ask(UNENDED)) and time.monotonic() < deadline:
            for (turn,) in left:  # given up by a visitor whose servers were killed
                await self.place.clients[0].post(f"/api/turns/{turn}/stop")
            await asyncio.sleep(1)
        if left:
            self.place.faults.append(f"turns that do not end: {left}")
        checked = await self._command("reconcile_messages", "--check", "--json")
        sound = assert_database_is_sound(self._ask, LOGGED)
        endings = Counter(dict(self._ask("SELECT status, count(*) FROM chat_turns GROUP BY 1")))
        turns = self._ask("SELECT count(*) FROM token_usage")[0][0]
        return {
            "faults": self.place.faults,
            "errors": self._errors(),
            "drift": int(checked != 0),
            "sound": len(sound),
            "turns": turns,
            "endings": "of those still there: " + ", ".join(f"{n} {status}" for status, n in endings.most_common()),
            "acts": dict(self.place.acts.most_common()),
            "answers": dict(self.place.answers.most_common()),
        }

    # -- what goes on meanwhile

    async def _goes_on(self, seconds: float) -> bool:
        """Wait so long, or to the soak's end; whether it goes on."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.over.wait(), seconds)
        return not self.over.is_set()

    async def _visit(self, visitor: Visitor) -> None:
        while await self._goes_on(random.expovariate(1 / self.pause) if self.now > self.times.hurry else 0):
            await visitor.act()

    async def _watch(self) -> None:
        last, wanted = self.now, SHARE * (psutil.cpu_count() or 1)
        while await self._goes_on(self.times.look):
            pids = {slot: one.process.pid for slot, one in enumerate(self.servers) if one.alive() and one.process}
            used = await asyncio.to_thread(self.work.look, list(pids.values()))
            cores, last = used / (self.now - last), self.now
            if self.times.hurry < self.now < self.times.whole / 4:  # from then on as it has turned out
                self.pause = min(30.0, max(0.05, self.pause * min(1.3, max(0.77, cores / wanted))))
            acts = self.place.acts.total()
            self.samples.append(await asyncio.to_thread(look, self.now, self.dsn, pids, acts))
            assert_invariants(self._ask)
            faults = len(self.place.faults)
            say(f"{self.samples[-1].line()}, {cores:.2f} cores, {len(self.kills)} kills, {faults} faults")

    async def _kill(self) -> None:
        while await self._goes_on(random.expovariate(1 / self.times.kill)):
            slot = random.randrange(1, SLOTS)
            self.place.up[slot] = False
            self.servers[slot].kill()
            self.kills.append(self.now)
            await asyncio.sleep(random.uniform(0, 3))
            await self._start(slot)

    async def _keep_house(self) -> None:
        kept = self.times.kept
        rounds = [
            ("prune_streams", "--older-than", str(kept)),
            ("purge_threads", "--deleted-days", str(kept / DAY)),
            ("reconcile_messages",),
            ("recover_turns",),
        ]
        for command in cycle(rounds):
            if not await self._goes_on(self.times.command):
                return
            if code := await self._command(*command):
                self.place.faults.append(f"{command[0]} exited with {code}")

    async def _start(self, slot: int) -> None:
        server = self.servers[slot]
        self.place.starts[slot] += 1
        await asyncio.to_thread(
            server.start, sys.executable, "-m", *SERVERS["uvicorn"]("127.0.0.1", server.port, APPLICATION)
        )
        self.place.started(slot)

    async def _command(self, *words: str) -> int:
        """The exit code of one of the project's commands."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "manage.py", *words),
            cwd=ROOT,
            env=self.servers[0].environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        _, said = await process.communicate()
        if process.returncode:
            say(said.decode(errors="replace")[-1000:])
        return process.returncode or 0

    def _ask(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            return connection.execute(query).fetchall()

    def _errors(self) -> dict[str, int]:
        """How often the servers logged an error, by its event."""
        found: Counter[str] = Counter()
        for server in self.servers:
            for line in server.log.read_text().splitlines():
                if line.startswith("{") and (told := orjson.loads(line))["level"] in ("ERROR", "CRITICAL"):
                    found[told.get("event", told["logger"])] += 1
        return dict(found)


APPLICATION = "chatproject.asgi:application"


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatproject.settings")
    os.environ.setdefault("DEBUG", "1")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak")
    parser.add_argument("--seconds", type=float, default=3600, help="of load (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures and all samples there")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the page and its pictures there")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # with the servers, not without
    begun = time.monotonic()
    with Stage() as stage:
        # As often for its length as once a minute in an hour: else a short soak ends before the first round.
        stage.execute(f"ALTER SYSTEM SET autovacuum_naptime = '{max(2, min(60, round(options.seconds / 60)))}s'")
        stage.execute("SELECT pg_reload_conf()")

        async def soaked() -> tuple[Soak, dict[str, Any]]:
            soak = Soak(stage, Times(options.seconds))
            return soak, await soak.run()

        soak, ends = asyncio.run(soaked())
    rows = judged(soak.samples, ends)
    hand_on(rows, time.monotonic() - begun, None)
    for fault, number in Counter(ends["faults"]).most_common(20):
        print(f"{number} x {fault}")
    print(f"errors: {ends['errors']}\nacts: {ends['acts']}\nanswers: {ends['answers']}")
    if options.json:
        found = {"rows": [row.as_json() for row in rows], **ends, "kill_times": soak.kills}
        options.json.write_bytes(
            orjson.dumps(found | {"samples": as_json(soak.samples)}, option=orjson.OPT_NON_STR_KEYS)
        )
    if options.page:
        write(options.page, rows, soak.samples, soak.kills, ends)
    return int(any(row.reached is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())

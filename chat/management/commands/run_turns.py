from __future__ import annotations

import asyncio
import signal
from typing import Any

from django.conf import settings
from django.core.checks import Tags
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections
from uvloop import new_event_loop

from chat import conf


class Command(BaseCommand):
    help = (
        "Run the turns that web servers begin, where CHAT_RUNNER is worker. SIGTERM and Ctrl-C let the live ones end,"
        " for CHAT_DRAIN_SECONDS; see docs/workers.md."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--concurrency",
            type=int,
            default=conf.get("MAX_LIVE_TURNS"),
            help="turns that this process runs at once (default: CHAT_MAX_LIVE_TURNS)",
        )

    def handle(self, *args: Any, concurrency: int, **options: Any) -> None:
        if conf.get("RUNNER") != "worker":
            raise CommandError("CHAT_RUNNER is not worker: the web servers run their turns themselves.")
        if concurrency < 1:
            raise CommandError("--concurrency is 1 or more.")
        self.check(tags=[Tags.database], databases=list(settings.DATABASES))
        connections.close_all()  # this thread asks no more, and what it kept of the pool no other would have
        self.stdout.write(f"Runs the turns that others begin, at most {concurrency} at once.")
        self.stdout.flush()
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_work(concurrency))


async def _work(concurrency: int) -> None:
    from chat.turns.worker import work  # which imports Procrastinate

    told_to_end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_end.set)
    await work(concurrency, told_to_end)

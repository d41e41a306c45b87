from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from chat import conf
from chat.store.attachments import sweep_attachments
from chat.store.queue import abandoned_threads
from chat.store.trash import purge_expired
from chat.turns.stop import stop_all


class Command(BaseCommand):
    help = "Delete threads for good that were deleted, or in which nothing has happened, some days ago. Usage stays."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--deleted-days",
            type=float,
            default=conf.get("KEEP_DELETED_DAYS"),
            metavar="DAYS",
            help="since they were deleted; 0: never (default: %(default)s)",
        )
        parser.add_argument(
            "--idle-days",
            type=float,
            default=conf.get("KEEP_THREADS_DAYS"),
            metavar="DAYS",
            help="since anything happened in them, deleted or not; 0: never (default: %(default)s)",
        )

    def handle(self, *args: Any, deleted_days: float, idle_days: float, **options: Any) -> None:
        for thread in abandoned_threads():
            stop_all(thread)
        total = 0
        while purged := purge_expired(deleted_days=deleted_days, idle_days=idle_days):
            total += len(purged)
        sweep_attachments()
        self.stdout.write(f"{total} threads purged")

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from chat import conf
from chat.store.stream_log import prune


class Command(BaseCommand):
    help = "Delete the logs of turns that ended some time ago. Their messages stay; a replay is then made from them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than",
            type=float,
            default=conf.get("LOG_RETENTION_SECONDS"),
            metavar="SECONDS",
            help="default: %(default)s",
        )

    def handle(self, *args: Any, older_than: float, **options: Any) -> None:
        total = 0
        while turns := prune(older_than):
            total += turns
        self.stdout.write(f"{total} logs pruned")

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from chat.turns.recover import recover_expired
from chat.turns.waiting import end_overdue


class Command(BaseCommand):
    help = (
        "End turns whose process is gone as interrupted, from their logs, and stop those on which nobody decided in"
        " time. Running servers do it by themselves."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        total = 0
        while turns := recover_expired():
            total += len(turns)
            self.stdout.write(f"recovered {', '.join(map(str, turns))}")
        self.stdout.write(f"{total} turns recovered")
        while turns := end_overdue():
            self.stdout.write(f"stopped {', '.join(map(str, turns))}: nobody decided in time")

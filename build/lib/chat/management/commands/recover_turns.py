from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from chat.turns.recover import recover_expired


class Command(BaseCommand):
    help = "End turns whose process is gone as interrupted, from their logs. Running servers do it by themselves."

    def handle(self, *args: Any, **options: Any) -> None:
        total = 0
        while turns := recover_expired():
            total += len(turns)
            self.stdout.write(f"recovered {', '.join(map(str, turns))}")
        self.stdout.write(f"{total} turns recovered")

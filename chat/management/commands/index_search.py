from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand
from tqdm import tqdm

from chat.store.search import fill


class Command(BaseCommand):
    help = "Take into the search what was written before it was there. May be interrupted and run again."

    def handle(self, *args: Any, **options: Any) -> None:
        with tqdm(unit=" rows", desc="titles, then messages", file=self.stderr, disable=None) as bar:
            for looked_at in fill():
                bar.update(looked_at)
        self.stdout.write("All titles and messages are in the search.")

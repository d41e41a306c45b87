from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from chat.management.reference import http_page, settings_page

PAGES = {"settings": settings_page, "http": http_page}


class Command(BaseCommand):
    help = "Print a page of the documentation that is made from the code: docs/settings.md or docs/http.md."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("page", choices=PAGES)

    def handle(self, *args: Any, page: str, **options: Any) -> None:
        self.stdout.write(PAGES[page](), ending="")

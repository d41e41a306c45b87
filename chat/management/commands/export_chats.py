from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from chat.access.scopes import scope_of
from chat.management.users import named_user
from chat.turns.portable import export_document


class Command(BaseCommand):
    help = "Print all threads of a user as one JSON document, which import_chats and POST /api/import/ read."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", required=True, metavar="USERNAME")

    def handle(self, *args: Any, user: str, **options: Any) -> None:
        for piece in export_document(scope_of(named_user(user))):
            self.stdout.write(piece.decode(), ending="")
        self.stdout.write("")

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser

from chat.store.tokens import create_token


class Command(BaseCommand):
    help = "Print a new bearer token of a user. It is shown this once: only its digest is stored."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--name", default="", help="what the token is for")

    def handle(self, *args: Any, username: str, name: str, **options: Any) -> None:
        try:
            token = create_token(username, name)
        except get_user_model().DoesNotExist:
            raise CommandError(f"There is no user {username!r}.") from None
        self.stdout.write(token)

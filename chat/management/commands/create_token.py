from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from chat.management.users import named_user
from chat.store.tokens import create_token


class Command(BaseCommand):
    help = "Print a new bearer token of a user. It is shown this once: only its digest is stored."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--name", default="", help="what the token is for")

    def handle(self, *args: Any, username: str, name: str, **options: Any) -> None:
        self.stdout.write(create_token(named_user(username).get_username(), name))

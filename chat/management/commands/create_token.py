from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from chat.management.users import named_user
from chat.models import ApiToken
from chat.store.tokens import create_token


class Command(BaseCommand):
    help = "Print a new bearer token of a user. It is shown this once: only its digest is stored."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--name", default="", help="what the token is for")

    def handle(self, *args: Any, username: str, name: str, **options: Any) -> None:
        try:
            ApiToken._meta.get_field("name").run_validators(name)
        except ValidationError as problem:
            raise CommandError(f"--name: {' '.join(problem.messages)}") from None
        self.stdout.write(create_token(named_user(username).get_username(), name))

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from chat.access.scopes import scope_of
from chat.errors import InvalidInput
from chat.management.users import named_user
from chat.protocol.requests import lenient
from chat.turns.portable import import_document


class Command(BaseCommand):
    help = (
        "Make threads of a user's out of a file: our own export, ChatGPT's conversations.json or Open WebUI's export "
        "of chats. May be run again: what is there already is left as it is."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--user", required=True, metavar="USERNAME")
        parser.add_argument("--json", action="store_true", help="the report as JSON")

    def handle(self, *args: Any, file: Path, user: str, **options: Any) -> None:
        scope = scope_of(named_user(user))
        try:
            report = import_document(scope, lenient(file.read_bytes()))
        except OSError as problem:
            raise CommandError(f"{file} cannot be read: {problem.strerror}.") from None
        except InvalidInput as problem:
            raise CommandError(f"{file}: {problem.text}") from None
        if options["json"]:
            self.stdout.write(json.dumps(asdict(report)))
        else:
            messages = sum(one["messages"] for one in report.imported)
            left_out = sum(one["left_out"] for one in report.imported)
            self.stdout.write(
                f"{len(report.imported)} threads with {messages} messages imported, {left_out} messages left out "
                f"(hidden, or instructions); {len(report.there_already)} threads were there already"
            )
            for one in report.refused:
                self.stdout.write(f"refused: number {one['index']}, {one['field']}: {one['message']}")
        if report.refused:
            raise CommandError(f"{len(report.refused)} conversations were refused.")

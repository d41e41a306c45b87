from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from chat.management.users import named_user
from chat.store.erasure import delete_account, erase, hide_threads, is_left
from chat.turns.stop import stop_around


class Command(BaseCommand):
    help = (
        "Take away everything that a user has said, made and uploaded: threads, copilot chats with their mirror, logs, "
        "search entries, files, links, opinions, tokens, and what they said and decided in the threads of others; "
        "answers there stay. Usage stays and is nobody's. May be run again. Backups and the database's own write-ahead "
        "log forget by their own rules."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument(
            "--delete-account", action="store_true", help="the user's row as well, and what of the host's goes with it"
        )
        parser.add_argument("--json", action="store_true", help="the report as JSON")

    def handle(self, *args: Any, username: str, **options: Any) -> None:
        user = named_user(username).pk
        hide_threads(user)
        stop_around(user)  # their ends still write what they know
        report = erase(user)
        if is_left(user):
            raise CommandError(
                "Something is left: the user is still writing (log them out, or deactivate them), or the storage does "
                "not delete their files (see the log). Run this again."
            )
        if options["delete_account"]:
            delete_account(user)
        report["accounts"] = int(options["delete_account"])
        if options["json"]:
            self.stdout.write(json.dumps(report))
            return
        for name, count in report.items():
            self.stdout.write(f"{name.replace('_', ' '):>20}  {count:,}")

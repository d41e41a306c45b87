from __future__ import annotations

import sys
from collections import Counter
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from chat.management.numbers import batch_size
from chat.management.progress import Progress, beside_the_bar
from chat.store.repairs import Broken, count_messages, repair, unknown_threads
from chat.store.sql import DatabaseError

BROKEN_IS_LEFT, COULD_NOT_RUN = 1, 2
EXAMPLES = 5


class Command(BaseCommand):
    help = (
        "Find messages of threads whose stored parts no client or provider takes, as an import or an older program may "
        "have left them, and mend them; nothing that they say is thrown away. May be interrupted and run again, also "
        "while the threads are written. Exit codes: 0 nothing broken is left; 1 something is; 2 it could not run."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="only find, and write nothing")
        parser.add_argument("--thread", type=UUID, action="append", metavar="ID", help="only this one; may be repeated")
        parser.add_argument(
            "--batch-size", type=batch_size, default=200, metavar="MESSAGES", help="looked at at once (%(default)s)"
        )

    def handle(
        self,
        *args: Any,
        check: bool,
        thread: list[UUID] | None,
        batch_size: int,
        verbosity: int,
        **options: Any,
    ) -> None:
        say = beside_the_bar(self.stdout.write)
        found, left, kinds = 0, 0, Counter[str]()
        try:
            if thread and (unknown := unknown_threads(thread)):
                raise CommandError(f"There is no thread {', '.join(map(str, unknown))}.", returncode=COULD_NOT_RUN)
            with Progress(count_messages(thread), self.stdout.write, of="messages") as progress:
                for looked in repair(thread, write=not check, batch_size=batch_size):
                    progress.advance(looked.messages)
                    for broken in looked.broken:
                        found += 1
                        left += not broken.mended
                        kinds.update(broken.wrong)
                        if found <= EXAMPLES or verbosity > 1:
                            say(line(broken))
        except DatabaseError as problem:
            raise CommandError(type(problem).__name__, returncode=COULD_NOT_RUN) from problem
        except KeyboardInterrupt:
            raise CommandError(
                "Interrupted. What was written is right; run it again to go on.", returncode=130
            ) from None
        for kind, count in kinds.most_common():
            say(f"{count:>9,}  {kind}")
        say(f"{found:,} broken messages, {found - left:,} mended, {left:,} left." if found else "Nothing is broken.")
        if left:
            sys.exit(BROKEN_IS_LEFT)


def line(broken: Broken) -> str:
    """A broken message in words, none of which are its own."""
    return f"thread {broken.thread}  message {broken.message}  {'; '.join(dict.fromkeys(broken.wrong))}"

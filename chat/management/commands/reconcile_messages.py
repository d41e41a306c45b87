from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from chat.conf import Phase, phase
from chat.management.intervals import FORMS, interval
from chat.management.numbers import batch_size
from chat.management.progress import Progress, beside_the_bar
from chat.management.reconcile_report import JsonReport, Report, TextReport, as_json
from chat.models import ReconcileMode
from chat.store import reconcile_range
from chat.store.drift import DRIFT, Kind
from chat.store.rebuild import rebuild
from chat.store.reconcile import Step, reconcile
from chat.store.reconcile_range import ALL, BEHIND, Range
from chat.store.reconcile_runs import begin_run, finish_run
from chat.store.sql import UNAVAILABLE, DatabaseError, ProgrammingError

DRIFT_IS_LEFT, COULD_NOT_RUN = 1, 2


class Command(BaseCommand):
    help = (
        "Compare the mirror of the copilot chats with their arrays, and add to it what is missing. May be interrupted "
        "and run again, also while the chats are written. Exit codes: 0 no drift, or none that is left; 1 drift; "
        "2 it could not run."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        modes = parser.add_mutually_exclusive_group()
        for option, mode, told in (
            ("--check", ReconcileMode.CHECK, "compare, and write nothing"),
            ("--repair", ReconcileMode.REPAIR, "mend changed, extra and misordered rows as well"),
            (
                "--from-mirror",
                ReconcileMode.FROM_MIRROR,
                "the other way round, on the way back from phase mirror_only: build the arrays anew that lack "
                "messages, or with --chat those of the chats named",
            ),
        ):
            modes.add_argument(option, dest="mode", action="store_const", const=mode, help=told)
        which = parser.add_mutually_exclusive_group()
        which.add_argument(
            "--since", type=_interval, metavar="TIME", help=f"only chats that were changed in this time: {FORMS}"
        )
        which.add_argument("--chat", type=UUID, action="append", metavar="ID", help="only this one; may be repeated")
        parser.add_argument(
            "--batch-size", type=batch_size, default=200, metavar="CHATS", help="compared at once (%(default)s)"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON document, and progress on stderr")
        parser.set_defaults(mode=ReconcileMode.INSERT)

    def handle(
        self,
        *args: Any,
        mode: ReconcileMode,
        since: tuple[timedelta, str] | None,
        chat: list[UUID] | None,
        batch_size: int,
        json: bool,
        verbosity: int,
        **options: Any,
    ) -> None:
        now = _allowed(mode, since)
        report: Report
        if json:
            report = JsonReport(mode, lambda text: self.stdout.write(text, ending="\n"))
        else:
            report = TextReport(mode, beside_the_bar(self.stdout.write), self.style, verbose=verbosity > 1)
        try:
            chosen = _chosen(mode, since, chat)
            self._run(report, chosen, now, batch_size, lambda text: self._progress(text, json=json))
        except DatabaseError as problem:
            raise CommandError(_reason(problem), returncode=COULD_NOT_RUN) from problem
        except KeyboardInterrupt:
            raise CommandError(
                "Interrupted. What was written is right; run it again to go on.", returncode=130
            ) from None
        if not report.sum.is_clean:
            sys.exit(DRIFT_IS_LEFT)

    def _run(self, report: Report, chosen: Range, now: Phase, batch_size: int, say: Callable[[str], None]) -> None:
        total = reconcile_range.count(chosen)
        run = begin_run(report.mode, chosen.scope, now)
        steps: Iterator[Step]
        if report.mode == ReconcileMode.FROM_MIRROR:
            steps = rebuild(chosen, batch_size=batch_size)
        else:
            steps = reconcile(chosen, report.mode, batch_size=batch_size)
        report.begin(total, chosen.scope, now)
        try:
            with Progress(total, say) as progress:
                for step in steps:
                    progress.advance(step.chats, step.messages)
                    report.add(step)
        except BaseException as problem:
            report.fail(_reason(problem))
            raise
        finish_run(
            run,
            chats=report.sum.chats,
            messages=report.sum.messages,
            found={kind: report.sum.found[kind] for kind in Kind},
            mended={kind: report.sum.mended[kind] for kind in DRIFT},
            examples=[as_json(one) for some in report.examples.values() for one in some],
            is_clean=report.sum.is_clean,
        )
        report.end(run)

    def _progress(self, text: str, *, json: bool) -> None:
        if json:
            self.stderr.write(text, style_func=str)
        else:
            self.stdout.write(text)
            self.stdout.flush()


def _allowed(mode: ReconcileMode, since: object) -> Phase:
    """The phase, if this may be done in it. Raises CommandError."""
    try:
        now = phase()
    except ValueError as problem:
        raise CommandError(f"COPILOT_MESSAGES_PHASE: {problem}.", returncode=COULD_NOT_RUN) from problem
    problem_is = None
    if mode == ReconcileMode.FROM_MIRROR:
        if now not in (Phase.MIRROR_READS, Phase.MIRROR_ONLY):
            problem_is = (
                f"In phase {now} the arrays are the truth: --from-mirror is for the way back from mirror_only, in "
                "phase mirror_only or mirror_reads."
            )
        elif since:
            problem_is = (
                "--from-mirror takes the chats whose array lacks messages, or those named by --chat; no --since."
            )
    elif now == Phase.MIRROR_ONLY:
        problem_is = (
            "In phase mirror_only the arrays are no longer written, and the mirror must not be made to follow them. "
            "To go back, run it with --from-mirror."
        )
    if problem_is:
        raise CommandError(problem_is, returncode=COULD_NOT_RUN)
    return now


def _chosen(mode: ReconcileMode, since: tuple[timedelta, str] | None, chats: list[UUID] | None) -> Range:
    if chats:
        if unknown := reconcile_range.unknown(chats):
            raise CommandError(f"There is no chat {', '.join(map(str, unknown))}.", returncode=COULD_NOT_RUN)
        return reconcile_range.chats_by_id(chats)
    if since:
        return reconcile_range.changed_within(*since)
    return BEHIND if mode == ReconcileMode.FROM_MIRROR else ALL


def _interval(text: str) -> tuple[timedelta, str]:
    try:
        return interval(text), text.strip()
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def _reason(problem: BaseException) -> str:
    """What went wrong, without a word of a message, which a complaint about a value might quote."""
    words = str(problem).splitlines()[:1] if isinstance(problem, (*UNAVAILABLE, ProgrammingError)) else []
    return ": ".join([type(problem).__name__, *words])

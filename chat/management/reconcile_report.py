"""What a reconcile tells its caller, for people or for programs. Ids and numbers only, no word of a message."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from typing import Any

import orjson
from django.core.management.color import Style

from chat.models import ReconcileMode
from chat.store.drift import DRIFT, Finding, Kind
from chat.store.reconcile import Step

EXAMPLES = 5  # of each kind that are shown, and kept with the record of the run
WORDS = {
    "no_array": "no array",
    "no_object": "no object",
    "no_id": "no id",
    "no_role": "no role",
    "no_time": "no time",
    "repeated_id": "repeated id",
}
# By the first word of a run's scope.
WHICH = {
    "all": "all copilot chats",
    "since": "the copilot chats changed in the last {}",
    "chat": "copilot chat {}",
    "array": "the copilot chats that lack messages",
}
DOING = {
    ReconcileMode.CHECK: "Comparing",
    ReconcileMode.INSERT: "Adding what is missing in the mirror of",
    ReconcileMode.REPAIR: "Mending the mirror of",
    ReconcileMode.FROM_MIRROR: "Building the arrays anew of",
}


class Report(ABC):
    """Adds up the steps of a run. What was rejected is told at once, one by one: there may be a great deal of it."""

    def __init__(self, mode: ReconcileMode, say: Callable[[str], None]) -> None:
        self.mode, self.say = mode, say
        self.sum = Step()
        self.examples: dict[Kind, list[Finding]] = {kind: [] for kind in Kind}
        self._begun = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begun

    def add(self, step: Step) -> None:
        for one in step.listed:
            if len(self.examples[one.kind]) < EXAMPLES:
                self.examples[one.kind].append(one)
            if one.kind == Kind.REJECTED:
                self.rejected(one)
        step.listed = []
        self.sum.add(step)

    @abstractmethod
    def begin(self, chats: int, scope: str, phase: str) -> None: ...

    @abstractmethod
    def rejected(self, finding: Finding) -> None: ...

    @abstractmethod
    def end(self, run: int) -> None: ...

    @abstractmethod
    def fail(self, message: str) -> None:
        """The run has not come to its end."""


class JsonReport(Report):
    """One JSON document on standard output. It begins with the list of what was rejected, which is written as it is
    found, so that nothing has to be kept.
    """

    def begin(self, chats: int, scope: str, phase: str) -> None:
        self._about = {"mode": self.mode, "scope": scope, "phase": phase}
        self._some = False
        self.say('{"rejected": [')

    def rejected(self, finding: Finding) -> None:
        line = orjson.dumps({name: value for name, value in as_json(finding).items() if name != "kind"}).decode()
        self.say(f", {line}" if self._some else line)
        self._some = True

    def end(self, run: int) -> None:
        total = self.sum
        self._close(
            {
                **self._about,
                "run": run,
                "seconds": round(self.seconds, 3),
                "chats": total.chats,
                "messages": total.messages,
                "found": {kind.value: total.found[kind] for kind in Kind},
                "mended": {kind.value: self.sum.mended[kind] for kind in DRIFT},
                "left": {kind.value: total.left[kind] for kind in DRIFT},
                "rebuilt": total.rebuilt,
                "busy": total.busy,
                "behind": total.behind,
                "locks": locks(total.locked),
                "examples": [as_json(one) for kind in DRIFT for one in self.examples[kind]],
                "is_clean": self.sum.is_clean,
            }
        )

    def fail(self, message: str) -> None:
        self._close({**self._about, "error": message})

    def _close(self, rest: dict[str, Any]) -> None:
        self.say(f"],\n{orjson.dumps(rest, option=orjson.OPT_INDENT_2).decode()[1:].lstrip()}\n")


class TextReport(Report):
    """Lines for people. ``verbose`` tells of everything that was rejected, else only examples are shown."""

    def __init__(self, mode: ReconcileMode, say: Callable[[str], None], style: Style, *, verbose: bool) -> None:
        super().__init__(mode, say)
        self.style, self.verbose = style, verbose

    def begin(self, chats: int, scope: str, phase: str) -> None:
        which, _, rest = scope.partition(" ")
        words = WHICH[which].format(rest)
        self.say(f"{DOING[self.mode]} {words}: {chats:,} (phase {phase})")

    def rejected(self, finding: Finding) -> None:
        if self.verbose:
            self.say(f"  rejected: {line(finding)}")

    def end(self, run: int) -> None:
        total = self.sum
        self.say(f"{total.chats:,} chats, {total.messages:,} messages in {_time(self.seconds)} (run {run})")
        if self.mode == ReconcileMode.FROM_MIRROR:
            self.say(f"{total.rebuilt:,} arrays built anew")
        else:
            self._table()
            self._examples()
        for chats, what in (
            (total.busy, "were locked by somebody all the time: run it again"),
            (total.behind, "were left alone, their array lacks messages: run it with --from-mirror first"),
        ):
            if chats:
                self.say(self.style.WARNING(f"{len(chats):,} chats {what}"))
                self.say("".join(f"  chat {chat}\n" for chat in chats[:EXAMPLES]).rstrip())
        if +total.left:
            how = "" if self.mode == ReconcileMode.REPAIR else ": --repair mends it"
            if self.mode == ReconcileMode.CHECK and +total.left == Counter({Kind.MISSING: total.left[Kind.MISSING]}):
                how = ": a run without --check adds what is missing, --repair also brings deleted rows back"
            self.say(self.style.ERROR(f"Drift is left{how}."))
        elif self.sum.is_clean:
            ending = "The arrays are the mirror." if self.mode == ReconcileMode.FROM_MIRROR else "No drift is left."
            self.say(self.style.SUCCESS(ending if self.mode != ReconcileMode.CHECK else "No drift."))

    def fail(self, message: str) -> None:
        """Whoever ends the run says it."""

    def _table(self) -> None:
        found, left = self.sum.found, self.sum.left
        self.say("")
        self.say(f"  {'':<11}{'found':>9}{'mended':>9}{'left':>9}")
        for kind in DRIFT:
            cells = f"{found[kind]:>9,}{self.sum.mended[kind]:>9,}{left[kind]:>9,}"
            self.say(f"  {kind:<11}{self.style.ERROR(cells) if left[kind] else cells}")
        self.say(
            f"  {Kind.REJECTED:<11}{found[Kind.REJECTED]:>9,}   (elements that are not as they should be: no drift)"
        )
        self.say("")

    def _examples(self) -> None:
        for kind, some in self.examples.items():
            if some:
                more = self.sum.found[kind] - len(some)
                how = "; -v 2 or --json lists all" if kind == Kind.REJECTED and not self.verbose else ""
                self.say(
                    self.style.MIGRATE_HEADING(kind)
                    + (f", the first {len(some)} of {more + len(some):,}{how}" if more > 0 else "")
                )
                for one in some:
                    self.say(f"  {line(one)}")
                self.say("")


def line(finding: Finding) -> str:
    """A finding in words."""
    words = [f"chat {finding.chat}"]
    if finding.message_id is not None:
        name = finding.message_id
        words.append(f"message {name if len(name) <= 64 else name[:61] + '…'}")
    words += [
        f"{what} {value}" for what, value in (("index", finding.index), ("seq", finding.seq)) if value is not None
    ]
    if finding.problem:
        words.append(f"{WORDS[finding.problem]}: {'kept' if finding.kept else 'not mirrored'}")
    return "  ".join(words)


def as_json(finding: Finding) -> dict[str, Any]:
    told: dict[str, Any] = {
        "kind": finding.kind,
        "chat": str(finding.chat),
        "message_id": finding.message_id,
        "index": finding.index,
        "seq": finding.seq,
    }
    if finding.kind == Kind.REJECTED:
        told |= {"problem": finding.problem, "kept": finding.kept}
    return told


def locks(held: list[float]) -> dict[str, float]:
    """How long the transactions held their locks, in milliseconds."""
    ordered = sorted(held)
    if not ordered:
        return {"transactions": 0}
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return {"transactions": len(ordered), "p99_ms": round(p99 * 1000, 1), "max_ms": round(ordered[-1] * 1000, 1)}


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.0f} min {seconds % 60:.0f} s"

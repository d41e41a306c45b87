"""A thread as it is read: its messages in order, each with its turn and what that cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from django.db.models import F, Func, IntegerField, Q
from django.utils.safestring import SafeString

from chat.admin.cells import dollars, span, status_label
from chat.admin.parts import PartView, part_views, says
from chat.admin.versions import Place, places
from chat.models import ENDED, Message, Role, Thread, TokenUsage, Turn, TurnStatus, UsageSource

# A page of a transcript ends at whichever comes first. The bytes are those on disk: without such a bound, a
# few pictures sent as parts would be as much to load as a thousand messages.
PAGE_MESSAGES = 200
PAGE_BYTES = 8_000_000
# Characters of one text or value; the message's own page shows all.
CUT = 20_000

ENDINGS: dict[str, str] = {
    TurnStatus.STOPPED: "was stopped",
    TurnStatus.INTERRUPTED: "was interrupted",
    TurnStatus.FAILED: "failed",
}


@dataclass(slots=True)
class Entry:
    """One message of the transcript."""

    message: Message
    parts: list[PartView]
    turn: Turn | None = None
    usage: str = ""
    badges: list[tuple[str, str]] = field(default_factory=list)  # look, text
    version: Place | None = None
    on_page: bool = False  # the version that is current

    @property
    def number(self) -> str:
        return str(self.message.pk)  # as text: a template would put separators into a number

    @property
    def who(self) -> str:
        message = self.message
        if message.role == Role.USER:
            return message.author.get_username() if message.author else ""
        return message.model or (self.turn.model if self.turn else "")

    @property
    def current_version(self) -> str:
        """The number of the version that is current, where that is another one."""
        return str(self.version.current) if self.version and self.version.current else ""

    @property
    def current_place(self) -> str:
        """Where that one stands, as an address."""
        place = f"#message-{self.current_version}"
        return place if self.on_page or not self.version else f"?before={(self.version.current or 0) + 1}{place}"

    @property
    def turn_number(self) -> str:
        return "" if self.turn is None else str(self.turn.pk)

    @property
    def status(self) -> SafeString | str:
        return "" if self.turn is None else status_label(self.turn.status)

    @property
    def is_folded(self) -> bool:
        return not self.message.is_current or self.message.deleted_at is not None

    @property
    def length(self) -> str:
        """How long the turn ran, once it has ended."""
        turn = self.turn
        return span(turn.finished_at - turn.started_at) if turn and turn.finished_at and turn.started_at else ""

    @property
    def finish_reason(self) -> str:
        """Where it says more than the status does."""
        reason = self.turn.finish_reason if self.turn else ""
        return "" if reason in ("stop", "error", "other") else reason.replace("-", " ")

    @property
    def note(self) -> str:
        """What stands where an answer says nothing."""
        if self.message.role != Role.ASSISTANT or self.is_folded or any(map(says, self.parts)):
            return ""
        if self.turn is None or self.turn.status == TurnStatus.COMPLETED:
            return "Empty answer: the model said nothing."
        if self.turn.status in ENDED:
            return f"No answer: the turn {ENDINGS[self.turn.status]} before the model said anything."
        return "No answer yet: it is stored here when the turn ends."


@dataclass(frozen=True, slots=True)
class Transcript:
    """A page of a thread, oldest message first."""

    entries: list[Entry]
    older: str  # the message in front of which the page before this one ends, as text (see Entry.number), or nothing
    is_last: bool


def read_transcript(thread: Thread, *, before: int | None = None, with_turns: bool, with_usage: bool) -> Transcript:
    """The last messages of a thread, or those in front of message ``before``; also replaced and deleted ones."""
    ids, older = _page(thread, before)
    messages = list(Message.objects.filter(pk__in=ids).select_related("author").order_by("pk"))
    turns = _turns(thread, messages) if with_turns else {}
    usages = _usages(messages, turns.values()) if with_usage else {}
    entries = [Entry(message, part_views(message.parts, cut=CUT), badges=badges(message)) for message in messages]
    versions = places(messages)
    for entry in entries:
        entry.version = versions.get(entry.message.pk)
        entry.on_page = entry.version is not None and entry.version.current in ids
    for entry in _told_by(entries, turns):
        entry.turn = turns[entry.message.turn_id or ""]
    for entry in entries:
        usage = usages.get(("message", entry.message.pk)) or (entry.turn and usages.get(("turn", entry.turn.pk)))
        entry.usage = told_usage(usage) if usage else ""
    return Transcript(entries, older, is_last=before is None)


def badges(message: Message) -> list[tuple[str, str]]:
    """What sets a message apart from one that is simply there."""
    metadata = message.metadata if isinstance(message.metadata, dict) else {}
    states = (
        (message.deleted_at is not None, "bad", "Deleted"),
        (not message.is_current, "quiet", "Not current" if message.current_at else "Never current"),
        ("appended" in metadata, "waiting", "Written by a client"),
    )
    return [(look, text) for holds, look, text in states if holds]


def told_usage(usage: TokenUsage) -> str:
    """Usage in a line."""
    if usage.source == UsageSource.MISSING:
        return "usage unknown"
    tokens = f"{usage.total_tokens:,} tokens ({usage.prompt_tokens:,} in, {usage.completion_tokens:,} out)"
    told = [tokens, dollars(usage.cost_micros)]
    return " · ".join([*told, "estimated"] if usage.source == UsageSource.ESTIMATED else told)


def _page(thread: Thread, before: int | None) -> tuple[list[int], str]:
    """The ids of a page's messages, newest first, and where the page before it ends, if there is one."""
    stored = Func(F("parts"), function="pg_column_size", output_field=IntegerField())
    found = Message.objects.filter(thread=thread).order_by("-pk").annotate(stored=stored)
    if before is not None:
        found = found.filter(pk__lt=before)
    ids: list[int] = []
    left = PAGE_BYTES
    for pk, size in found.values_list("pk", "stored")[: PAGE_MESSAGES + 1]:
        if ids and (len(ids) == PAGE_MESSAGES or size > left):
            return ids, str(ids[-1])
        ids.append(pk)
        left -= size
    return ids, ""


def _turns(thread: Thread, messages: Iterable[Message]) -> dict[str, Turn]:
    names = {message.turn_id for message in messages if message.turn_id is not None}
    return {turn.turn_id: turn for turn in Turn.objects.filter(thread=thread, turn_id__in=names).defer("request")}


def _usages(messages: Iterable[Message], turns: Iterable[Turn]) -> dict[tuple[str, int], TokenUsage]:
    mine = Q(message__in=[message.pk for message in messages]) | Q(turn__in=[turn.pk for turn in turns])
    found: dict[tuple[str, int], TokenUsage] = {}
    for usage in TokenUsage.objects.filter(mine).defer("model_breakdown", "call_details"):
        # A row whose message is gone still tells what its turn cost.
        key = ("turn", usage.turn_id) if usage.message_id is None else ("message", usage.message_id)
        found[key] = usage  # type: ignore[index]
    return found


def _told_by(entries: list[Entry], turns: dict[str, Turn]) -> Iterable[Entry]:
    """The entry of each turn that tells about it: the answer, else the last of its messages."""
    tellers: dict[str, Entry] = {}
    for entry in entries:
        turn_id = entry.message.turn_id
        if turn_id in turns and (turn_id not in tellers or tellers[turn_id].message.role != Role.ASSISTANT):
            tellers[turn_id] = entry
    return tellers.values()

"""How single values look in lists and on pages. Whatever comes from a person or a model is escaped."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import Any

from django.contrib.humanize.templatetags.humanize import naturaltime
from django.db.models import Model
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from chat.models import TurnStatus

# Embeddings, overrides and isolates: they could turn round the text that follows.
BIDI_CONTROLS = re.compile("[\u202a-\u202e\u2066-\u2069]")
NOTHING = "—"
JSON_CHARS = 500_000


def one_line(text: str) -> str:
    """``text`` for places without markup: on one line, and without what changes the direction of its neighbours."""
    return " ".join(BIDI_CONTROLS.sub("", text).split())


def label(look: str, text: str) -> SafeString:
    """A coloured word; the colour only repeats what the word says."""
    return format_html('<span class="chat-label" data-look="{}">{}</span>', look, text)


STATUS_LOOKS: dict[str, str] = {
    TurnStatus.QUEUED: "quiet",
    TurnStatus.STREAMING: "running",
    TurnStatus.AWAITING_APPROVAL: "waiting",
    TurnStatus.COMPLETED: "good",
    TurnStatus.STOPPED: "quiet",
    TurnStatus.INTERRUPTED: "waiting",
    TurnStatus.FAILED: "bad",
}


def status_label(status: str) -> SafeString:
    """The status of a turn."""
    return label(STATUS_LOOKS.get(status, "quiet"), sentence(status.replace("_", " ")))


def sentence(text: str) -> str:
    """The label of a choice as words of a sentence: "Awaiting approval"."""
    return text[:1].upper() + text[1:].lower()


def when(moment: datetime | None) -> SafeString | str:
    """How long ago, with the exact time under the pointer."""
    if moment is None:
        return NOTHING
    return format_html(
        '<time class="chat-when" datetime="{}" title="{}">{}</time>',
        moment.isoformat(),
        exact(moment),
        naturaltime(moment),
    )


def exact(moment: datetime) -> str:
    return timezone.localtime(moment).strftime("%Y-%m-%d %H:%M:%S %Z")


def times(row: Model, *names: str) -> SafeString:
    """Those of a row's moments that it has, to the second, each with its name."""
    given = ((name, getattr(row, name)) for name in names)
    items = (
        (capfirst(name.removesuffix("_at").replace("_", " ")), moment.isoformat(), exact(moment))
        for name, moment in given
        if moment is not None
    )
    fact = '<div><dt>{}</dt><dd><time datetime="{}">{}</time></dd></div>'
    return format_html('<dl class="chat-times">{}</dl>', format_html_join("", fact, items))


def span(length: timedelta | None) -> str:
    """A length of time: 0.42 s, 12.3 s, 3 min 4 s, 25 min, 2 h 5 min."""
    if length is None:
        return NOTHING
    seconds = max(0.0, length.total_seconds())
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes < 10 else f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours:,} h {rest} min" if rest else f"{hours:,} h"


def days(number: float) -> str:
    """A setting in days; empty for 0, which all of them mean never by."""
    return f"{number:g} day{'s' * (number != 1)}" if number else ""


def dollars(micros: int) -> str:
    """Millionths of a US dollar as dollars: two digits behind the point at least, and no more than say something."""
    whole, behind = divmod(abs(micros), 1_000_000)
    digits = f"{behind:06}".rstrip("0").ljust(2, "0")
    return f"{'-' if micros < 0 else ''}${whole:,}.{digits}"


def pretty(value: Any) -> str:
    """A JSON value, indented. Text stays as it is."""
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def json_block(value: Any) -> SafeString | str:
    """A JSON value on a page, in a box that scrolls; the beginning of one that no browser would like to lay out."""
    if value in ({}, [], None, ""):
        return NOTHING
    text = pretty(value)
    behind = f"\n… and {len(text) - JSON_CHARS:,} more characters" if len(text) > JSON_CHARS else ""
    return format_html('<pre class="chat-json" tabindex="0">{}{}</pre>', text[:JSON_CHARS], behind)

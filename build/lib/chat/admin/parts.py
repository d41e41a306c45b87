"""Message parts as a page shows them: a list of plain views for ``admin/chat/_parts.html``.

Parts are whatever the table holds: also rows of an import or an older program are shown, however odd.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chat.admin.cells import pretty, sentence

# Characters of a name: of a file, a tool, an address that stands for one.
NAME_CHARS = 300


@dataclass(frozen=True, slots=True)
class Field:
    """A text of a part, with a name where it has several."""

    name: str
    text: str
    left_out: int = 0  # characters behind its end


@dataclass(frozen=True, slots=True)
class PartView:
    """A part: ``kind`` says how it looks (text, reasoning, tool, link, value, step)."""

    kind: str
    name: str = ""
    fields: tuple[Field, ...] = ()
    state: str = ""
    look: str = ""
    note: str = ""
    url: str = ""


# How a tool call stands, in the words of the chat page.
TOOL_STATES = {
    "input-streaming": ("running", "Preparing"),
    "input-available": ("running", "Running"),
    "approval-requested": ("waiting", "Waiting for approval"),
    "approval-responded": ("waiting", "Answered"),
    "output-available": ("good", "Done"),
    "output-error": ("bad", "Failed"),
    "output-denied": ("bad", "Denied"),
}


def part_views(parts: Any, *, cut: int | None = None) -> list[PartView]:
    """The views of a message's parts, in order. ``cut`` is the most characters of one text or value."""
    if not isinstance(parts, list):
        return [_value("Not a list of parts", parts, cut)]
    views = [_view(part, cut) for part in parts]
    # A step that has nothing in front of it separates nothing.
    return [view for place, view in enumerate(views) if view.kind != "step" or place > 0]


def says(view: PartView) -> bool:
    """Whether a part says anything: an answer of nothing but others is an empty one."""
    if view.kind in ("text", "reasoning"):
        return any(field.text.strip() for field in view.fields)
    return view.kind in ("tool", "link")


def _view(part: Any, cut: int | None) -> PartView:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str):
        return _value("Not a part", part, cut)
    if kind in ("text", "reasoning") and isinstance(part.get("text"), str):
        return PartView(kind, fields=(_field("", part["text"], cut),))
    if kind.startswith("tool-") or kind == "dynamic-tool":
        return _tool(part, kind, cut)
    if kind == "file" or kind.startswith("source-"):
        return _link(part, kind)
    if kind == "step-start":
        return PartView("step")
    return _value(kind, part, cut)


def _field(name: str, value: Any, cut: int | None) -> Field:
    text = pretty(value)
    return Field(name, text) if cut is None else Field(name, text[:cut], left_out=max(0, len(text) - cut))


def _value(name: str, value: Any, cut: int | None) -> PartView:
    return PartView("value", name[:NAME_CHARS], (_field("", value, cut),))


def _tool(part: dict[str, Any], kind: str, cut: int | None) -> PartView:
    name = part.get("toolName") if kind == "dynamic-tool" else kind.removeprefix("tool-")
    state = str(part.get("state", ""))
    look, text = TOOL_STATES.get(state, ("quiet", state))
    fields = {
        "Input": part.get("input", part.get("rawInput")),
        "Output": part.get("output"),
        "Error": part.get("errorText"),
    }
    given = {title: value for title, value in fields.items() if value is not None}
    return PartView(
        "tool",
        str(name)[:NAME_CHARS],
        tuple(_field(title, value, cut) for title, value in given.items()),
        state=text,
        look=look,
        note=str(part.get("toolCallId", ""))[:NAME_CHARS],
    )


def _link(part: dict[str, Any], kind: str) -> PartView:
    url = str(part.get("url", ""))
    names = (part.get(key) for key in ("filename", "title"))
    name = next((given[:NAME_CHARS] for given in names if isinstance(given, str) and given), "")
    media_type = str(part.get("mediaType", ""))[:NAME_CHARS]
    if url[:5].lower() == "data:":
        # Never a link: a document inside an address would run as this site's own.
        return PartView("link", name or "File", note=f"{media_type}, inline, {_size(url)}")
    # No scheme but these two is opened: `javascript:` is one.
    opens = url.lower().startswith(("http://", "https://"))
    note = media_type or sentence(kind.replace("-", " "))[:NAME_CHARS]
    return PartView("link", name or url[:NAME_CHARS] or "File", note=note, url=url if opens else "")


def _size(url: str) -> str:
    size = len(url) - url.find(",") - 1
    size = size * 3 // 4 if ";base64," in url[:200] else size
    return f"{size:,} bytes" if size < 10_000 else f"{size // 1000:,} KB"

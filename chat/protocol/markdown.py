"""Markdown, as models write it, made into HTML that a page may show as it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from html import escape

from chat.protocol.chunks import Part

#: Longer text is shown as it was written: what is made to be slow takes half a second at this length (measured).
MAX_CHARS = 50_000

HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}
TABLE = {"table", "tbody", "td", "th", "thead", "tr"}
TAGS = (
    HEADINGS | TABLE | {"a", "blockquote", "br", "code", "del", "em", "hr", "li", "ol", "p", "pre", "s", "strong", "ul"}
)
ATTRIBUTES = {"a": {"href", "title"}, "code": {"class"}, "ol": {"start"}}
# An address of the page's own site would make a click of a reader's do something there.
ABSOLUTE = re.compile(r"(https?://|mailto:)", re.IGNORECASE)


def rendered(text: str) -> str:
    """HTML of the elements in TAGS; links lead to http, https and mail addresses only, and tell nobody where from.

    HTML in the text is shown as text. What the parser lets through is cleaned once more by another program.
    """
    if len(text) > MAX_CHARS:
        return "<p>" + escape(text, quote=False).replace("\n", "<br>") + "</p>"
    parse, clean = _programs()
    return clean(parse(text))


def rendered_parts(parts: list[Part]) -> list[str]:
    """HTML of each text part, in their order; "" for one without text, as nobody may have mended it yet."""
    texts = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "text"]
    return [rendered(text) if isinstance(text, str) else "" for text in texts]


@cache
def _programs() -> tuple[Callable[[str], str], Callable[[str], str]]:
    # A process that renders nothing need not load them.
    from markdown_it import MarkdownIt
    from nh3 import Cleaner

    # Images are not asked for: the address of one tells its host who reads what, and may carry what was said.
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")
    cleaner = Cleaner(
        tags=TAGS,
        attributes=ATTRIBUTES,
        attribute_filter=lambda tag, name, value: value if name != "href" or ABSOLUTE.match(value) else None,
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
        # They may be wider than a screen, and a keyboard has to reach what scrolls.
        set_tag_attribute_values={"pre": {"tabindex": "0"}, "table": {"tabindex": "0"}},
    )
    return parser.render, cleaner.clean

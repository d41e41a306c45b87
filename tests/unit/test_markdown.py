from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.protocol.markdown import ATTRIBUTES, MAX_CHARS, TAGS, rendered, rendered_parts

ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<style>*{background:url(https://evil.example)}</style>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
    "[a](javascript:alert(1))",
    "[a](JaVaScRiPt&colon;alert(1))",
    "[a](&#106;avascript:alert(1))",
    "[a](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[a](vbscript:msgbox(1))",
    "[a](//evil.example)",
    "[a]( \x01javascript:alert(1))",
    "<javascript:alert(1)>",
    "![a](https://evil.example/pixel.png)",
    "![a][b]\n\n[b]: https://evil.example/pixel.png",
    "[![a](https://evil.example/a.png)](https://evil.example)",
    '[a](https://x.example "onmouseover=alert(1)")',
    '[a](https://x.example/"onmouseover="alert(1))',
    '```"><script>alert(1)</script>\nx\n```',
    "`<img src=x onerror=alert(1)>`",
    "<a href='https://x.example' style='position:fixed' target=_top onclick=alert(1)>a</a>",
    "<form action=https://evil.example><input name=a><button>b</button></form>",
    "<base href=https://evil.example>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
]


# What the page gives them itself.
OURS = {"a": {"rel"}, "pre": {"tabindex"}, "table": {"tabindex"}}


class Seen(HTMLParser):
    """Asserts of every tag and attribute that it is one that may be there."""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        for name, value in attributes:
            assert name in ATTRIBUTES.get(tag, set()) | OURS.get(tag, set()), (tag, name)
            if name == "href":
                assert re.match(r"(?i)(https?:|mailto:)", value or ""), value
        if tag == "a" and "href" in dict(attributes):
            assert dict(attributes)["rel"] == "noopener noreferrer nofollow"


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_in_it_runs_or_asks_anybody(attack: str) -> None:
    for text in (attack, f"> {attack}", f"- {attack}", f"| {attack} |\n|---|\n| {attack} |"):
        Seen().feed(rendered(text))


@settings(deadline=None)  # the first one loads both programs
@given(st.lists(st.sampled_from([*ATTACKS, "\n", "*", "`", "[", "](", ">", "<", "&", '"', " "]), max_size=20))
def test_nor_when_attacks_are_put_together(pieces: list[str]) -> None:
    Seen().feed(rendered("".join(pieces)))


def test_what_models_write_looks_like_it() -> None:
    html = rendered(
        "# Title\n\n1. **one**\n2. `two`\n\n| a |\n|---|\n| 1 |\n\n```python\nx < 1\n```\n\n~~gone~~ [there](https://x.example)"
    )
    for piece in (
        "<h1>Title</h1>",
        "<li><strong>one</strong></li>",
        "<li><code>two</code></li>",
        "<td>1</td>",
        '<pre tabindex="0"><code class="language-python">x &lt; 1\n</code></pre>',
        "<s>gone</s>",
        '<a href="https://x.example" rel="noopener noreferrer nofollow">there</a>',
    ):
        assert piece in html


def test_html_in_a_text_is_read_as_it_was_written() -> None:
    assert rendered("Use <b>bold</b> & more") == "<p>Use &lt;b&gt;bold&lt;/b&gt; &amp; more</p>\n"


def test_a_text_that_is_too_long_is_shown_as_it_was_written() -> None:
    html = rendered("**a** <b>\n" + "x" * MAX_CHARS)
    assert html.startswith("<p>**a** &lt;b&gt;<br>xx")


def test_each_text_part_has_its_html() -> None:
    parts = [
        {"type": "step-start"},
        {"type": "text", "text": "*a*"},
        {"type": "reasoning", "text": "*b*"},
        {"type": "text", "text": "c"},
    ]
    assert rendered_parts(parts) == ["<p><em>a</em></p>\n", "<p>c</p>\n"]


def test_a_text_that_is_none_has_no_html_and_keeps_its_place() -> None:
    parts: list[Any] = [{"type": "text", "text": 5}, "x", {}, {"type": "text"}, {"type": "text", "text": "c"}]
    assert rendered_parts(parts) == ["", "", "<p>c</p>\n"]

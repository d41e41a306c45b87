"""Files of other systems, made to be slow: reading one holds the whole process, so it takes as long as the file is."""

from __future__ import annotations

import time
from typing import Any

import pytest

from chat.errors import InvalidInput
from chat.protocol.portable import conversation
from chat.protocol.portable.conversation import Conversation
from chat.protocol.portable.formats import conversations_of
from tests.api.foreign_files import chatgpt, node, open_webui, said, text

CHARS = 400_000
NODES = 12_000
SECONDS = 3.0  # of our own CPU; a tenth of it on the slowest machine, and minutes where time grows with the square


def filled(piece: str) -> str:
    return piece * (CHARS // len(piece))


def read(document: Any) -> list[Conversation]:
    begun = time.thread_time()
    found = [one for _, one in conversations_of(document)]
    assert time.thread_time() - begun < SECONDS
    return [one for one in found if isinstance(one, Conversation)]


def answered(content: str) -> list[dict[str, Any]]:
    """The parts of an answer of Open WebUI's."""
    document = open_webui()
    document[0]["chat"]["history"]["messages"]["m3"]["content"] = content
    (found,) = read(document)
    (answer,) = (message for message in found.messages if message.key == "m3")
    return answer.parts


@pytest.mark.parametrize(
    "content",
    [
        filled("<details>"),
        filled("<details"),
        filled("<details "),
        filled("<detailsx>") + "</details>",
        filled("<details>") + "</details>",
        filled("</details>"),
        filled("<details></details>"),
        filled("<details><summary>"),
        "<details>" + filled(" "),
        f"<details {filled('a')}></details>",
        f'<details {filled("a=")}"></details>',
        f"<details {filled(chr(34))}></details>",
        f'<details type="reasoning">{filled("&#")}</details>',
    ],
    ids=lambda content: f"{content[:24]}…",
)
def test_a_text_full_of_tags_is_read_in_the_time_its_length_takes(content: str) -> None:
    (part,) = answered(content)
    assert part["type"] in ("text", "reasoning")


def test_a_chain_of_nodes_is_read_in_the_time_its_length_takes() -> None:
    document = chatgpt()
    mapping = document[0]["mapping"]
    before = "q1"
    for number in range(NODES):
        key, author = f"n{number}", ("assistant", "tool")[number % 2]
        calls = {"recipient": "python"} if author == "assistant" else {"name": "another"}
        mapping[key] = node(key, before, said(key, author, text("1+1"), **calls))
        before = key
    (found,) = read(document)
    (answer,) = (message for message in found.messages if message.key == "n0")
    assert len(answer.parts) == NODES


def test_what_a_tool_gave_goes_to_its_last_call_that_waits() -> None:
    document = chatgpt()
    before = "q1"
    for key, author, words in (
        ("c1", "assistant", "first"),
        ("c2", "assistant", "second"),
        ("o2", "tool", "to the second"),
        ("o1", "tool", "to the first"),
        ("o0", "tool", "to none"),
    ):
        calls = {"recipient": "python"} if author == "assistant" else {"name": "python"}
        document[0]["mapping"][f"n-{key}"] = node(f"n-{key}", before, said(f"n-{key}", author, text(words), **calls))
        before = f"n-{key}"
    (found,) = read(document)
    (answer,) = (message for message in found.messages if message.key == "n-c1")
    first, second, rest = answer.parts
    assert (first["input"], first["output"]) == ({"text": "first"}, {"text": "to the first"})
    assert (second["input"], second["output"]) == ({"text": "second"}, {"text": "to the second"})
    assert rest["text"] == "to none"


def test_blocks_that_are_no_blocks_stay_in_their_text() -> None:
    thought = '<details type="reasoning">\n<summary>Thought</summary>\n&gt; Hm.\n</details>\n'
    assert [part["text"] for part in answered(f"a <details <detailsx> b {thought}c </details><details>")] == [
        "a <details <detailsx> b ",
        "Hm.",
        "c </details><details>",
    ]
    (one,) = answered(f'<details type="reasoning">&#{"9" * 5000};</details>')
    assert one["text"] == f"&#{'9' * 5000};"


@pytest.mark.parametrize("file", [chatgpt, open_webui], ids=["chatgpt", "open_webui"])
def test_a_file_has_a_bound_on_its_conversations(file: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        list(conversations_of(file() * (conversation.MESSAGES + 1)))
    assert refused.value.field == "body"

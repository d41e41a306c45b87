from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from chat.admin import transcript as transcript_of_admin
from chat.models import Message, Thread, TokenUsage
from tests.admin.pages import answered, html, page_url, said, words
from tests.factories import MessageFactory, ThreadFactory, TurnFactory, UsageFactory

pytestmark = pytest.mark.django_db


def shown(operator: Client, *parts: Any, role: str = "assistant") -> str:
    """The markup of a transcript that is one message with these parts."""
    return html(operator, page_url(MessageFactory.create(role=role, parts=list(parts)).thread))


def test_messages_stand_in_order_with_role_author_time_and_text(operator: Client) -> None:
    thread = ThreadFactory.create(owner__username="maria")
    for number in range(3):
        answered(number, thread=thread, user=thread.owner)
    told = words(html(operator, page_url(thread)))
    assert re.findall(r"Question \d|Answer \d", told) == [
        f"{kind} {n}" for n in range(3) for kind in ("Question", "Answer")
    ]
    message = thread.messages.first()
    assert f"User maria {message.created_at:%Y-%m-%d %H:%M:%S} #{message.pk} Question 0" in told
    assert "Assistant small" in told


def test_a_turn_tells_its_status_its_length_its_error_and_its_usage(operator: Client) -> None:
    now = timezone.now()
    turn = answered(
        status="failed",
        error_code="model_error",
        error_text="The model <b>said</b> no.",
        started_at=now - timedelta(seconds=75),
        finished_at=now,
    )
    page = html(operator, page_url(turn.thread))
    assert (
        f"Failed Turn {turn.pk} 1 min 15 s 15 tokens (10 in, 5 out) · $0.0015 model_error The model <b>said</b> no."
        in words(page)
    )
    assert "<b>said" not in page
    assert page.count(f"Turn {turn.pk}<") == 1
    assert "Tokens 15 Cost $0.0015" in words(page)


def test_usage_says_where_it_comes_from_and_outlives_its_message(operator: Client) -> None:
    turn = answered()
    TokenUsage.objects.update(source="estimated", message=None)
    assert "$0.0015 · estimated" in words(html(operator, page_url(turn.thread)))
    TokenUsage.objects.update(source="missing")
    assert "usage unknown" in words(html(operator, page_url(turn.thread)))


@pytest.mark.parametrize(
    ("status", "note"),
    [
        ("completed", "Empty answer: the model said nothing."),
        ("stopped", "No answer: the turn was stopped before"),
        ("interrupted", "No answer: the turn was interrupted before"),
        ("failed", "No answer: the turn failed before"),
        ("streaming", "No answer yet"),
    ],
)
@pytest.mark.parametrize("parts", [[], [{"type": "step-start"}, {"type": "data-x", "data": 1}], said("  ")])
def test_an_empty_answer_is_shown_as_one(operator: Client, status: str, note: str, parts: list[Any]) -> None:
    turn = TurnFactory.create(status=status)
    MessageFactory.create(thread=turn.thread, turn_id=turn.turn_id, role="assistant", parts=parts)
    assert note in words(html(operator, page_url(turn.thread)))


@pytest.mark.parametrize("role", ["user", "assistant"])
def test_text_is_text_whatever_it_says(operator: Client, role: str) -> None:
    evil = "<script>alert(1)</script>\n\n  </div><img src=x onerror=alert(2)> {{ 1|add:1 }} &lt;"
    page = shown(operator, *said(evil), role=role)
    assert "alert(1)&lt;/script&gt;\n\n  &lt;/div&gt;&lt;img" in page
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "{{ 1|add:1 }} &amp;lt;" in page


def test_every_place_that_may_hold_markup_is_escaped(operator: Client) -> None:
    evil = "<script>alert(1)</script>'\""
    thread = ThreadFactory.create(title=evil, client_id=evil, owner__username="o<script>", metadata={evil: evil})
    turn = TurnFactory.create(
        thread=thread,
        turn_id=evil,
        status="failed",
        model=evil,
        error_code=evil,
        error_text=evil,
        finish_reason=evil[:32],
    )
    parts = [
        {"type": evil, "text": evil},
        {
            "type": f"tool-{evil}",
            "toolCallId": evil,
            "state": evil,
            "input": evil,
            "output": {evil: evil},
            "errorText": evil,
        },
        {"type": "dynamic-tool", "toolName": evil, "toolCallId": evil, "state": "output-available", "output": [evil]},
        {"type": "file", "filename": evil, "mediaType": evil, "url": f"https://x/{evil}"},
        {"type": "file", "mediaType": evil, "url": f"data:text/html,{evil}"},
        {"type": "source-url", "title": evil, "url": evil},
        {"type": "source-document", "title": evil, "mediaType": evil},
        {"type": f"data-{evil}", "data": evil},
        {"type": "reasoning", "text": evil},
    ]
    message = MessageFactory.create(
        thread=thread, turn_id=evil, role="assistant", parts=parts, model=evil, client_id=evil, metadata={evil: 1}
    )
    usage = UsageFactory.create(turn=turn, message=message, model_breakdown={evil: {}}, call_details={evil: evil})
    for row in (thread, turn, message, usage):
        for url in (page_url(row), page_url(row).partition(str(row.pk))[0]):
            page = html(operator, url)
            assert "<script>alert" not in page
            assert "<script>'" not in page
            assert "o<script>" not in page
            assert "&lt;script&gt;alert" in page or "%3Cscript" in page


def test_a_title_cannot_turn_round_what_stands_beside_it(operator: Client) -> None:
    thread = ThreadFactory.create(title="gnp\u202eexe.\u2066\u202d invoice")
    page = html(operator, page_url(thread))
    title = page.partition("<title>")[2].partition("</title>")[0]
    assert not set(title) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    assert "<bdi>gnpexe. invoice</bdi>" in page


def test_reasoning_is_folded(operator: Client) -> None:
    page = shown(operator, {"type": "reasoning", "text": "Let me see"}, *said("Done"))
    fold = page.partition("<details")[2].partition("</details>")[0]
    assert "Let me see" in fold
    assert "open" not in fold.partition(">")[0]
    assert "Done" not in fold


def test_a_tool_call_is_a_card_with_its_json(operator: Client) -> None:
    page = shown(
        operator,
        {
            "type": "tool-weather",
            "toolCallId": "call-1",
            "state": "output-available",
            "input": {"city": "Zürich", "days": [1, 2]},
            "output": {"sky": "<clear>"},
        },
        {
            "type": "dynamic-tool",
            "toolName": "mail",
            "toolCallId": "call-2",
            "state": "output-error",
            "errorText": "No.",
        },
        {"type": "tool-later", "toolCallId": "call-3", "state": "approval-requested", "input": None},
    )
    told = words(page)
    assert 'weather Done call-1 Input { "city": "Zürich", "days": [ 1, 2 ] } Output { "sky": "<clear>" }' in told
    assert "mail Failed call-2 Error No." in told
    assert "later Waiting for approval call-3" in told
    assert "{\n  &quot;city&quot;" in page
    assert "<clear>" not in page


def test_a_file_is_told_by_name_and_type_and_only_a_web_address_is_a_link(operator: Client) -> None:
    page = shown(
        operator,
        {
            "type": "file",
            "filename": "chart.png",
            "mediaType": "image/png",
            "url": "data:image/png;base64," + "iVBO" * 3000,
        },
        {
            "type": "file",
            "filename": "page.html",
            "mediaType": "text/html",
            "url": "DATA:text/html,<script>alert(1)</script>",
        },
        {"type": "file", "mediaType": "text/plain", "url": "javascript:alert(1)"},
        {
            "type": "file",
            "filename": "a.pdf",
            "mediaType": "application/pdf",
            "url": "https://example.org/a.pdf?x=1&y=2",
        },
        {"type": "source-url", "sourceId": "1", "url": "http://example.org/", "title": "Source"},
        {"type": "source-url", "sourceId": "2", "url": ["odd"]},
        role="user",
    )
    told = words(page)
    assert "chart.png image/png, inline, 9,000 bytes" in told
    assert "page.html text/html, inline, 25 bytes" in told
    assert 'href="https://example.org/a.pdf?x=1&amp;y=2" rel="noopener noreferrer"' in page
    assert 'href="http://example.org/"' in page
    hrefs = re.findall(r'(?:href|src)="([^"]*)"', page)
    assert not [href for href in hrefs if href.lower().startswith(("data:", "javascript:"))]
    assert "<img" not in page.partition("chat-transcript")[2]


ODD = [7, "text", {"type": "text"}, [None], ["x"], [{}], [{"type": 7}], [{"type": "text"}], [[]]]
ODD += [
    [{"type": "text", "text": None}],
    [{"type": "tool-", "state": {}, "toolCallId": 1}],
    [{"type": "file", "url": 1}],
]


@pytest.mark.parametrize("parts", ODD, ids=repr)
def test_odd_parts_are_shown_as_they_are(operator: Client, parts: Any) -> None:
    message = MessageFactory.create(role="assistant", parts=parts, metadata=["odd"])
    html(operator, page_url(message.thread))
    html(operator, page_url(message))


def test_what_is_deleted_or_replaced_is_folded_and_marked(operator: Client) -> None:
    thread = ThreadFactory.create(deleted_at=timezone.now())
    MessageFactory.create(thread=thread, parts=said("taken back"), deleted_at=timezone.now())
    MessageFactory.create(thread=thread, parts=said("replaced"), is_current=False, role="assistant")
    MessageFactory.create(thread=thread, parts=said("from a client"), metadata={"appended": True})
    page = html(operator, page_url(thread))
    assert "The owner deleted this thread" in page
    told = words(page)
    assert "Deleted" in told
    assert "Not current" in told
    assert "Written by a client" in told
    folds = "".join(part.partition("</details>")[0] for part in page.split("<details")[1:])
    assert "taken back" in folds
    assert "replaced" in folds
    assert "from a client" not in folds


def test_versions_are_numbered_and_lead_to_the_one_that_is_current(operator: Client) -> None:
    thread = ThreadFactory.create()
    asked = MessageFactory.create(thread=thread, parts=said("Question"))
    alone = MessageFactory.create(thread=thread, parts=said("Alone"), parent=asked)

    def answer(text: str, **fields: Any) -> Message:
        return MessageFactory.create(thread=thread, role="assistant", parts=said(text), parent=alone, **fields)

    first = answer("First", is_current=False)
    failed = answer("Failed", is_current=False, current_at=None, version_of=first)
    third = answer("Third", version_of=first)
    told = words(html(operator, page_url(thread)))
    assert f"Assistant Not current Version 1 of 3, #{third.pk} is current" in told
    assert f"Assistant Never current Version 2 of 3, #{third.pk} is current" in told
    assert "Assistant Version 3 of 3 2" in told
    assert told.count("Version") == 3
    page = html(operator, page_url(thread))
    assert page.count(f'href="#message-{third.pk}"') == 2
    assert f'id="message-{third.pk}"' in page
    page = html(operator, page_url(thread), before=str(failed.pk))
    place = re.search(rf'href="(\?before={third.pk + 1}#message-{third.pk})"', page)
    assert place
    assert f'id="message-{third.pk}"' in html(operator, page_url(thread) + place[1].partition("#")[0])


def test_a_long_thread_is_read_in_pages(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript_of_admin, "PAGE_MESSAGES", 4)
    thread = ThreadFactory.create()
    for number in range(10):
        MessageFactory.create(thread=thread, parts=said(f"Message {number}."))
    url, pages = page_url(thread), []
    query: dict[str, str] = {}
    while True:
        page = html(operator, url, **query)
        pages.append(re.findall(r"Message (\d)\.", page))
        assert ("The latest messages" in page) == bool(query)
        older = re.search(r'href="\?before=(\d+)"', page)
        if older is None:
            break
        query = {"before": older[1]}
    assert pages == [list("6789"), list("2345"), list("01")]
    for odd in ("x", "-1", "9" * 40, ""):
        html(operator, url, before=odd)


def test_a_page_is_bounded_by_what_it_would_load(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript_of_admin, "PAGE_BYTES", 1000)
    thread = ThreadFactory.create()
    for number in range(3):
        MessageFactory.create(thread=thread, parts=said(f"Message {number}." + "ab" * 300))
    assert re.findall(r"Message (\d)\.", html(operator, page_url(thread))) == ["2"]
    MessageFactory.create(thread=thread, parts=said("Message 3." + "".join(map(chr, range(33, 9000)))))
    assert re.findall(r"Message (\d)\.", html(operator, page_url(thread))) == ["3"]


def test_a_long_text_is_cut_in_the_transcript_and_whole_on_the_message_page(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcript_of_admin, "CUT", 50)
    message = MessageFactory.create(parts=said("x" * 80 + "the end"))
    page = html(operator, page_url(message.thread))
    assert "and 37 more characters" in page
    assert "the end" not in page
    assert "the end" in html(operator, page_url(message))


def test_a_turn_and_a_message_lead_to_their_place_in_the_transcript(operator: Client) -> None:
    thread = ThreadFactory.create()
    turn, later = answered(1, thread=thread), answered(2, thread=thread)
    answer = Message.objects.get(turn_id=turn.turn_id, role="assistant")
    place = f"{page_url(thread)}?before={answer.pk + 1}#message-{answer.pk}"
    assert place in html(operator, page_url(turn))
    assert place in html(operator, page_url(answer))
    page = html(operator, place.partition("#")[0])
    assert f'id="message-{answer.pk}"' in page
    assert "Answer 1" in page
    assert "Answer 2" not in page
    assert later.turn_id not in page


def test_a_thread_that_is_not_there_is_told_so(operator: Client) -> None:
    thread = ThreadFactory.build()
    answer = operator.get(page_url(Thread(pk=thread.pk or "00000000-0000-0000-0000-000000000000")), follow=True)
    assert "doesn’t exist" in answer.content.decode()

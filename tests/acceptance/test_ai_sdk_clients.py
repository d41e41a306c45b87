"""Unmodified AI SDK clients of five versions in front of a real server: send, leave, come back, answer anew, edit.

Behind every scenario the client's messages are the stored ones; where it left or came back, also a fresh client's.
"""

from __future__ import annotations

import pytest

from chat.testing.scripted import Pause, script_of
from chat.testing.servers import eventually
from tests.acceptance.visits import Visit, words
from tests.clients.driver import RESUMES_IN_PLACE

pytestmark = [pytest.mark.node, pytest.mark.timeout(120)]

CALL = {"type": "tool-input-available", "toolCallId": "c1", "toolName": "clock", "input": {"zone": "UTC"}}
CALLED = {"type": "tool-output-available", "toolCallId": "c1", "output": "noon"}
REPOSTS = {"sendAutomaticallyWhen": "lastAssistantMessageIsCompleteWithToolCalls"}


def test_what_a_client_has_sent_and_read_is_what_is_stored(visit: Visit) -> None:
    page = visit.page()
    for text in ("/tokens 30 0", "/tool", "/think"):
        page.send(text)
        assert (page.status, page.error) == ("ready", None)
        visit.assert_same(page)
    assert page.requests == [("POST", 200)] * 3
    visit.assert_same_when_fresh()


def test_a_client_that_aborts_and_sends_the_next_message_has_stopped_the_turn_it_left(visit: Visit) -> None:
    page = visit.page()
    page.begin("/hang", until="Hanging")
    page.done("stop")
    assert page.status == "ready"
    assert visit.turns() == ["streaming"], "a client that leaves is no stop"
    page.send("/tokens 3 0")
    assert (page.status, page.error) == ("ready", None)
    assert visit.turns() == ["stopped", "completed"]
    visit.assert_same(page, cut_off=(1,))
    visit.assert_same_when_fresh()


def test_a_client_that_the_network_cut_off_resumes_and_misses_nothing(visit: Visit) -> None:
    page = visit.page()
    page.begin("/tokens 40 15", until="w5 ")
    page.cut()
    assert page.status == "error"
    held = words(page.messages[-1])
    if visit.version not in RESUMES_IN_PLACE:
        page = visit.page_again()
    page.done("resumeStream")
    assert (page.status, page.requests[-1]) == ("ready", ("GET", 200))
    assert len(held) < len(words(page.messages[-1]))
    visit.assert_same(page)
    visit.assert_same_when_fresh()


def test_a_fresh_client_joins_the_answer_that_another_one_is_reading(visit: Visit) -> None:
    first = visit.page()
    first.begin("/tokens 40 15", until="w5 ")
    second = visit.page_again()
    assert [message["role"] for message in second.messages] == ["user"]
    second.call("resumeStream")
    second.step("until", text="w10 ")
    first.settle()
    second.settle()
    visit.assert_same(first)
    visit.assert_same(second)
    visit.assert_same_when_fresh()


def test_a_fresh_client_reads_the_answer_that_was_left_until_its_end(visit: Visit) -> None:
    left = visit.page()
    left.begin("/tokens 150 20", until="w5 ")  # long enough for another client to start meanwhile
    left.done("stop")
    page = visit.page_again()
    page.done("resumeStream")
    assert visit.turns() == ["completed"]
    visit.assert_same(page)
    visit.assert_same_when_fresh()


def test_another_answer_takes_the_place_of_the_first_one(visit: Visit) -> None:
    page = visit.page()
    page.send("/tokens 3 0")
    first = page.messages[-1]["id"]
    page.done("regenerate")
    assert page.messages[-1]["id"] != first
    visit.assert_same(page)
    page.send("/tokens 4 0")
    second = page.messages[1]["id"]
    page.done("regenerate", {"messageId": second})
    assert (len(page.messages), page.status) == (2, "ready")
    visit.assert_same(page)
    versions = visit.place.api.get(f"/api/messages/{first}/versions/").json()["results"]
    assert [version["is_current"] for version in versions] == [False, False, True]
    visit.assert_same_when_fresh()


def test_another_answer_that_fails_leaves_the_first_one(visit: Visit) -> None:
    page = visit.page()
    page.send("/tokens 3 0")
    (asked, answered) = visit.stored()
    visit.place.database.ask(
        """UPDATE chat_messages SET parts = jsonb_build_array(jsonb_build_object('type', 'text', 'text', '/fail 2'))
            WHERE id = %s RETURNING id""",
        int(asked["id"]),
    )
    page.done("regenerate")
    assert (page.status, page.error) == ("error", "The demo agent failed, as you asked.")
    assert visit.turns() == ["completed", "failed"]
    assert visit.stored()[1:] == [answered]
    visit.assert_same_when_fresh()


def test_an_edited_question_supersedes_what_followed_by_either_of_its_names(visit: Visit) -> None:
    page = visit.page()
    page.send("/tokens 3 0")
    page.send("/tokens 4 0")
    mine = page.messages[0]["id"]
    page.send("/tokens 5 0", messageId=mine)
    assert [message["role"] for message in page.messages] == ["user", "assistant"]
    visit.assert_same(page)
    page.send("/tokens 6 0", messageId=mine)  # it goes on calling it what it did
    visit.assert_same(page)
    fresh = visit.page_again()
    fresh.send("/tokens 7 0", messageId=fresh.messages[0]["id"])  # by the server's name
    assert (fresh.status, words(fresh.messages[-1])) == ("ready", "w1 w2 w3 w4 w5 w6 w7 ")
    visit.assert_same(fresh)
    visit.assert_same_when_fresh()


def test_a_failure_is_told_kept_and_no_hindrance(visit: Visit) -> None:
    page = visit.page()
    page.send("/fail 3")
    assert (page.status, page.error) == ("error", "The demo agent failed, as you asked.")
    assert page.messages[-1]["metadata"]["error_code"] == "demo_failure"
    visit.assert_same(page)
    visit.assert_same_when_fresh()
    page.send("/tokens 3 0")
    assert (page.status, visit.turns()) == ("ready", ["failed", "completed"])
    visit.assert_same(page)


def test_a_second_client_in_a_busy_thread_is_told_so_and_leaves_nothing(visit: Visit) -> None:
    first, second = visit.page(), visit.page()
    first.begin("/hang", until="Hanging")
    second.send("/tokens 3 0")
    assert second.status == "error"
    assert "thread_busy" in (second.error or "")
    visit.stop()
    first.settle()
    assert (first.status, visit.turns()) == ("ready", ["stopped"])
    visit.assert_same(first)
    second.step("set", messages=visit.page_again().messages)
    second.send("/tokens 3 0")
    visit.assert_same(second)


@pytest.mark.parametrize("ending", ["the stop of a hanging tool", "an answer that ends with a tool"])
def test_a_client_that_posts_again_by_itself_does_not_loop(visit: Visit, ending: str) -> None:
    page = visit.page(**REPOSTS)
    hangs = ending == "the stop of a hanging tool"
    page.call("sendMessage", {"text": script_of([CALL, Pause(60)] if hangs else [CALL, CALLED])})
    if hangs:
        page.step("until", text="input-available")
        visit.stop()
    page.settle()
    (sent, again) = page.requests
    assert sent == ("POST", 200)
    assert again[0] == "POST"
    assert 400 <= again[1] < 500
    assert visit.turns() == ["stopped" if hangs else "completed"]
    visit.assert_same(page)
    page.send("/tokens 3 0")
    assert (page.status, len(page.requests)) == ("ready", 3)
    visit.assert_same(page)
    visit.assert_same_when_fresh()


def test_a_client_that_posts_again_by_itself_is_quiet_when_it_has_aborted(visit: Visit) -> None:
    page = visit.page(**REPOSTS)
    page.call("sendMessage", {"text": script_of([CALL, Pause(60)])})
    page.step("until", text="input-available")
    page.done("stop")
    assert page.requests == [("POST", 200)]
    visit.stop()
    assert eventually(lambda: visit.turns() == ["stopped"])
    visit.assert_same_when_fresh()

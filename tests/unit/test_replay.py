"""Chunks made again, beyond what they fold to (``test_protocol_properties``): where steps end, what has no text."""

from __future__ import annotations

from chat.protocol.chunks import Part, text_delta, text_end, text_start
from chat.protocol.replay import replay
from tests.unit.chunk_lists import FINISH_STEP, START_STEP, in_step

STEP: Part = {"type": "step-start"}


def text(words: str, state: str = "done") -> Part:
    return {"type": "text", "text": words, "state": state}


def test_the_last_step_of_an_answer_ends_unless_the_answer_goes_on() -> None:
    said = [text_start("text-2"), text_delta("text-2", "x")]
    assert replay([STEP, text("x")]) == in_step(*said, text_end("text-2"))
    assert replay([STEP, text("x", "streaming")]) == [START_STEP, *said]
    assert replay([STEP, STEP]) == [START_STEP, FINISH_STEP, START_STEP, FINISH_STEP]
    assert replay([text("x")])[-1]["type"] == "text-end", "a part of another origin, which lies in no step"


def test_a_text_of_nothing_has_no_delta_and_no_two_blocks_share_an_id() -> None:
    reasoning = {"type": "reasoning", "id": "text-1", "text": "", "state": "done"}
    chunks = replay([text(""), reasoning])
    assert [(chunk["type"], chunk["id"]) for chunk in chunks] == [
        *[("text-start", "text-1~"), ("text-end", "text-1~")],
        *[("reasoning-start", "text-1"), ("reasoning-end", "text-1")],
    ]

"""What the empty page offers to send while the demo agent is the one who answers."""

from __future__ import annotations

from typing import NamedTuple


class Suggestion(NamedTuple):
    title: str
    message: str


DEMO_SUGGESTIONS = [
    Suggestion("Stream fifty words", "/tokens 50"),
    Suggestion("Think before answering", "/think"),
    Suggestion("Call a tool", "/tool"),
    Suggestion("Reload in mid-answer", "/tokens 600 30"),
    Suggestion("Fail after five words", "/fail 5"),
    Suggestion("Hang until it is stopped", "/hang"),
]

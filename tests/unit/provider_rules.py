"""What OpenAI's and Anthropic's endpoints refuse of a history, as rules on the messages that a model is told."""

from __future__ import annotations

import json
import re
from typing import Any

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def assert_providers_accept(history: list[dict[str, Any]]) -> None:
    """Raises AssertionError naming the message and the rule it breaks."""
    said = [message for message in history if message["role"] != "system"]
    assert all(message["role"] == "system" for message in history[: len(history) - len(said)]), "instructions first"
    assert said, "there is something to answer"
    ids: set[str] = set()
    for place, message in enumerate(said):
        # Anthropic, and the templates of most open models: user, assistant, user … to the user's.
        assert message["role"] == ("assistant" if place % 2 else "user"), f"message {place}: roles alternate"
        assert message["parts"], f"message {place} is empty"
        for part in message["parts"]:
            _assert_part(part, message["role"], ids)
        content = [part for part in message["parts"] if part["type"] in ("text", "file") or "toolCallId" in part]
        assert content, f"message {place} has no content"
    assert said[-1]["role"] == "user", "the user has the last word"
    json.dumps(history, allow_nan=False)


def _assert_part(part: dict[str, Any], role: str, ids: set[str]) -> None:
    kind = part["type"]
    if "toolCallId" in part:
        assert role == "assistant", "only the model calls tools"
        name = part.get("toolName") or kind.removeprefix("tool-")
        assert _NAME.fullmatch(name), f"the name {name!r}"
        assert part["toolCallId"], "a call has an id"
        assert part["toolCallId"] not in ids, "the id of a call is its own"
        ids.add(part["toolCallId"])
        assert isinstance(part["input"], dict), "the input is an object"
        assert part["state"] in ("output-available", "output-error", "output-denied"), "a call has its result"
        assert part["state"] != "output-available" or "output" in part
        assert part["state"] != "output-error" or part["errorText"]
    elif kind == "text":
        assert part["text"].strip(), "a text says something"
    elif kind == "reasoning":
        assert role == "assistant"
        assert part["providerMetadata"], "only reasoning that a provider signed goes back"
    elif kind == "file":
        assert part["url"]
        assert part["mediaType"]
    else:
        assert kind in ("step-start", "data-provider-metadata"), f"{kind} is only for the eye"

"""What the model is told of a conversation: stored messages, made into what a provider accepts."""

from __future__ import annotations

from typing import Any

ANSWERED = {"output-available", "output-error", "output-denied"}


def model_history(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Stored messages (``{"id", "role", "parts"}``, oldest first) without what a provider refuses: empty messages,
    tool calls that never got a result, parts that are only for the eye.
    """
    history = []
    for message in messages:
        parts = [part for part in message["parts"] if _told(part)]
        if any(part["type"] != "step-start" for part in parts):
            history.append({**message, "parts": parts})
    return history


def _told(part: dict[str, Any]) -> bool:
    kind: str = part["type"]
    if kind == "text":
        return bool(part["text"])
    if kind.startswith("tool-") or kind == "dynamic-tool":
        return part.get("state") in ANSWERED
    return not kind.startswith(("data-", "source-"))

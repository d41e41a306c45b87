"""What of a message may be shown to strangers: what was said, and nothing of what stood behind it."""

from __future__ import annotations

from typing import Any


def shareable(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The parts that a shared thread shows: texts, the addresses of web sources, and the names of files. Left out are
    reasoning, tool calls and what they gave, data (mentions among them), the files themselves, and every key that is
    not named here.
    """
    shown: list[dict[str, Any]] = []
    for part in parts:
        kind = part.get("type")
        if kind == "text" and isinstance(part.get("text"), str):
            shown.append({"type": "text", "text": part["text"]})
        elif kind == "source-url" and str(part.get("url", "")).startswith(("https://", "http://")):
            shown.append({"type": "source-url", "url": part["url"], "title": str(part.get("title") or "")})
        elif kind == "file":
            name, media_type = part.get("filename"), part.get("mediaType")
            shown.append({"type": "file", "filename": str(name or ""), "mediaType": str(media_type or "")})
    return shown

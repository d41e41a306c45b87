"""Open WebUI's export of chats: each a ``history`` of messages with parents, ``currentId`` its end. What a model
thought and which tools it called stands there inside the text, as ``<details>``.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from chat.errors import InvalidInput
from chat.protocol.portable.conversation import Conversation, Said, an_object, moment, ordered, repaired, short, some

OPENING, CLOSING = "<details", "</details>"


def is_open_webui(document: Any) -> bool:
    return isinstance(document, list) and any(_history(one) is not None for one in document)


def _history(value: Any) -> Any:
    chat = value.get("chat", value) if isinstance(value, dict) else None
    return chat.get("history") if isinstance(chat, dict) else None


def conversation(value: Any, at: str) -> Conversation:
    """A chat of the export. Raises InvalidInput with the path of what is wrong."""
    found = an_object(value, at)
    chat = an_object(found.get("chat", found), f"{at}.chat")
    name = short(found.get("id") or chat.get("id"), 110)
    if not name:
        raise InvalidInput(f"{at}.id", "A chat needs its id.")
    here = f"{at}.chat.history"
    history = an_object(chat.get("history"), here)
    messages, left_out = {}, 0
    for key, one in an_object(history.get("messages"), f"{here}.messages").items():
        message = an_object(one, f"{here}.messages.{key[:64]}")
        said = _message(key, message, f"{here}.messages.{key[:64]}")
        if said is None:
            left_out += 1
        else:
            messages[key] = said
    last = history.get("currentId")
    updated = moment(found.get("updated_at") or chat.get("timestamp"), f"{at}.updated_at")
    tags = [short(tag) for tag in some(chat.get("tags")) if isinstance(tag, str)]
    return Conversation(
        name=f"open-webui:{name}",
        title=short(found.get("title") or chat.get("title"), 200),
        messages=ordered(messages.values(), last if isinstance(last, str) else None, f"{here}.messages"),
        created_at=moment(found.get("created_at") or chat.get("timestamp"), f"{at}.created_at"),
        updated_at=updated,
        archived_at=updated if found.get("archived") is True else None,
        metadata={"imported_from": "open-webui", **({"tags": tags} if tags else {})},
        left_out=left_out,
    )


def _message(key: str, message: dict[str, Any], at: str) -> Said | None:
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str):
        raise InvalidInput(f"{at}.role", "A message needs a role.")
    if role not in ("user", "assistant"):
        return None
    if not isinstance(content, str):
        raise InvalidInput(f"{at}.content", "Must be text.")
    parent = message.get("parentId")
    if not isinstance(parent, str | None):
        raise InvalidInput(f"{at}.parentId", "Must be the id of a message.")
    seconds = message.get("timestamp")
    if isinstance(seconds, int | float) and seconds > 1e11:
        seconds /= 1000  # some versions write milliseconds
    model = short(message.get("model"), 200) if role == "assistant" else ""
    return Said(
        key=key,
        parent=parent,
        role=role,
        parts=repaired([*(_answer(content, key) if role == "assistant" else _text(content)), *_extra(message)], key),
        created_at=moment(seconds, f"{at}.timestamp"),
        metadata={"model": model} if model else {},
        model=model,
        client_id=short(key) or None,
    )


def _text(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text}] if text.strip() else []


def _answer(content: str, key: str) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    end = 0
    for block in _blocks(content):
        part = _detail(_attributes(block.tag), block.inside, f"{key[:100]}-{len(parts)}")
        if part is not None:
            parts += [*_text(content[end : block.start]), part]
            end = block.end
    return [*parts, *_text(content[end:])]


class _Block(NamedTuple):
    """A ``<details>`` in a text: where it stands, what its tag says, and what is in it behind its summary."""

    start: int
    end: int
    tag: str
    inside: str


def _blocks(content: str) -> Iterator[_Block]:
    """The blocks of a text, none of which lies in another.

    Found by ``find``, which goes on where it was, so that each character is looked at a few times whatever the text is.
    A pattern looks for its end from every beginning anew, and holds the whole process while it does: a megabyte of tags
    that nobody closes took it minutes.
    """
    place = 0
    while (start := content.find(OPENING, place)) >= 0 and (inside := content.find(">", start)) >= 0:
        tag = content[start + len(OPENING) : inside]
        if "<" in tag or tag[:1].strip():  # no such tag: another one begins in it, or its name is longer
            place = max(content.rfind("<", start, inside), start + 1)
            continue
        closing = content.find(CLOSING, inside)
        if closing < 0:
            return
        place = closing + len(CLOSING)
        while content[place : place + 1].isspace():
            place += 1
        yield _Block(start, place, tag, _behind_summary(content[inside + 1 : closing]))


def _behind_summary(inside: str) -> str:
    summary, found, rest = inside.lstrip().partition("</summary>")
    return rest if found and summary.startswith("<summary>") and summary.count("<") == 1 else inside


def _attributes(tag: str) -> dict[str, str]:
    """What stands in quotes in a tag, by the names in front of it."""
    *pieces, _ = tag.split('"')
    given = {}
    for before, value in zip(pieces[::2], pieces[1::2], strict=False):
        if before.endswith("=") and (names := before[:-1].split()):
            given[names[-1]] = _unescaped(value)
    return given


def _unescaped(text: str) -> str:
    try:
        return html.unescape(text)
    except ValueError:  # a character's number of thousands of digits
        return text


def _detail(given: dict[str, str], inside: str, call_id: str) -> dict[str, Any] | None:
    """A block of the kinds that the product writes itself; a model's own ``<details>`` stay text."""
    if given.get("type") == "reasoning":
        lines = _unescaped(inside).strip().splitlines()
        return {"type": "reasoning", "text": "\n".join(re.sub(r"^> ?", "", line) for line in lines), "state": "done"}
    if given.get("type") == "tool_calls":
        call = {
            "type": "dynamic-tool",
            "toolName": short(given.get("name")) or "tool",
            "toolCallId": short(given.get("id")) or call_id,
            "input": _json(given.get("arguments", "")),
        }
        if given.get("done") == "true":
            return {**call, "state": "output-available", "output": _json(given.get("result", ""))}
        return {**call, "state": "output-error", "errorText": "This call was never answered."}
    return None


def _json(text: str) -> Any:
    """JSON, often as text within JSON."""
    for _ in range(2):
        try:
            value = orjson.loads(text)
        except ValueError:
            return text
        if not isinstance(value, str):
            return value
        text = value
    return text


def _extra(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Files and sources."""
    parts: list[dict[str, Any]] = []
    for file in some(message.get("files")):
        if not isinstance(file, dict):
            continue
        url, name = file.get("url"), short(file.get("name"), 255)
        about = file.get("content_type") or ("image/*" if file.get("type") == "image" else "application/octet-stream")
        if isinstance(url, str) and url.startswith("data:"):
            about = url[5:].split(";")[0].split(",")[0] or about
        if isinstance(url, str) and url and isinstance(about, str):
            parts.append({"type": "file", "mediaType": about, "url": url, **({"filename": name} if name else {})})
        else:
            parts.append({"type": "data-open-webui-file", "data": file})
    return [*parts, *({"type": "data-open-webui-source", "data": source} for source in some(message.get("sources")))]

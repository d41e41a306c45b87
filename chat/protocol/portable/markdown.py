"""A conversation as Markdown: what was said, for people to read and keep."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

NAMES = {"user": "User", "assistant": "Assistant", "system": "System"}


def markdown(thread: dict[str, Any]) -> str:
    """The current messages of an exported thread (``store.portable``). Texts stand as they were written; what a model
    thought is a quotation, tools and data are blocks of JSON, content of files is left out.
    """
    lines = [f"# {_line(thread['title']) or 'Untitled'}", ""]
    for message in thread["messages"]:
        if message["is_current"]:
            name = NAMES.get(message["role"], message["role"])
            lines += [f"## {name} · {str(message['created_at'])[:19].replace('T', ' ')}", ""]
            for part in message["parts"]:
                lines += _part(part)
    return "\n".join(lines).rstrip() + "\n"


def _part(part: dict[str, Any]) -> Iterator[str]:
    kind = str(part.get("type"))
    if kind == "text":
        yield from (str(part.get("text", "")), "")
    elif kind == "reasoning":
        yield from (*(f"> {line}".rstrip() for line in str(part.get("text", "")).splitlines()), "")
    elif kind == "file":
        url, name = str(part.get("url", "")), _line(str(part.get("filename") or part.get("mediaType") or "file"))
        name = re.sub(r"([\[\]\\])", r"\\\1", name)
        url = re.sub(r"[<>\s]", "", url)
        yield from (f"*{name}*" if url.startswith("data:") else f"[{name}](<{url}>)", "")
    elif "toolCallId" in part:
        tool = str(part.get("toolName")) if kind == "dynamic-tool" else kind.removeprefix("tool-")
        yield from (f"**Tool {_line(tool)}**", "")
        told = {key: part[key] for key in ("input", "output", "errorText") if key in part}
        yield from (*_fenced(told), "")
    elif kind.startswith("source-"):
        yield from (f"Source: {_line(str(part.get('title') or ''))} <{part.get('url', '')}>".rstrip(), "")


def _fenced(value: Any) -> Iterator[str]:
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    yield from (f"{fence}json", text, fence)


def _line(text: str) -> str:
    return " ".join(text.split())

"""JSON that is not finished yet: the input of a tool call while the model still writes it.

The AI SDK shows a streaming input by closing what is open; this gives the same value for every prefix of a
JSON text: strings and containers are closed, a key without its value is left out, a literal is completed, a
number keeps what is a number already. (The oracle in ``tests/clients`` compares it with the npm client.)
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from chat.protocol.sanitize import MAX_DEPTH, clean

_TOKEN = re.compile(
    r"""[ \t\n\r]*+(?:
        (?P<string>"(?:[^"\\]|\\.)*+")
      | (?P<half>"(?:[^"\\]|\\.)*+\\?)
      | (?P<mark>[\[\]{},:])
      | (?P<word>[^\s"\[\]{},:]++)
    )""",
    re.VERBOSE | re.DOTALL,
)
_NUMBER = re.compile(r"(?P<whole>-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)(?:\.|[eE][+-]?)?")
_LITERALS = ("true", "false", "null")
#: A string's end that is no whole escape yet: ``\``, ``\u``, ``\u00e``.
_OPEN_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*(\\(?:u[0-9a-fA-F]{0,3})?)\Z")
_CLOSERS = {"{": "}", "[": "]"}


def parse_partial(text: str) -> tuple[bool, Any]:
    """Whether anything can be made of ``text``, and the (cleaned) value if so."""
    try:
        return True, _parse(text)
    except (ValueError, RecursionError):
        try:
            return True, _parse(_completed(text))
        except (ValueError, RecursionError):
            return False, None


def _parse(text: str) -> Any:
    return clean(json.loads(text, parse_constant=_refuse, parse_int=_integer))


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 400 else float(digits)


def _completed(text: str) -> str:
    """The longest beginning of ``text`` that is a value once closed, closed; or nothing."""
    best, tail = 0, ""
    stack: list[str] = []
    awaits = "value"
    position = 0
    while (token := _TOKEN.match(text, position)) is not None:
        position = token.end()
        kind, start = token.lastgroup, token.start(str(token.lastgroup))
        mark = text[start] if kind == "mark" else ""
        if stack and mark == _CLOSERS[stack[-1]] and awaits in ("key or end", "value or end", "comma"):
            stack.pop()
        elif awaits == "comma" and mark == "," and stack:
            awaits = "key" if stack[-1] == "{" else "value"
            continue
        elif awaits == "colon" and mark == ":":
            awaits = "value"
            continue
        elif awaits.startswith("key") and kind == "string":
            awaits = "colon"
            continue
        elif awaits.startswith("value") and mark in _CLOSERS:
            if len(stack) > MAX_DEPTH:
                break
            stack.append(mark)
            best, tail = position, _closing(stack)
            awaits = "key or end" if mark == "{" else "value or end"
            continue
        elif awaits.startswith("value") and kind == "string":
            pass
        elif awaits.startswith("value") and kind == "half":
            escape = _OPEN_ESCAPE.search(text, start)
            return text[: escape.start(1) if escape else len(text)] + '"' + _closing(stack)
        elif awaits.startswith("value") and kind == "word":
            word = _word(token["word"])
            if word is None:
                break
            if position == len(text):
                return text[:start] + word + _closing(stack)
        else:
            break
        best, tail = position, _closing(stack)
        awaits = "comma"
    return text[:best] + tail


def _closing(stack: list[str]) -> str:
    return "".join(_CLOSERS[opener] for opener in reversed(stack))


def _word(word: str) -> str | None:
    """The literal that ``word`` begins, or the number that it is so far."""
    for literal in _LITERALS:
        if literal.startswith(word):
            return literal
    number = _NUMBER.fullmatch(word)
    return number["whole"] if number else None

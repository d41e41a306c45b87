"""Values: repaired when an agent made them, refused when a client sent them.

One list of evils for both (measured in ``reference/postgres-and-faults.md``, table 1.4, and in the npm
clients): NUL, lone surrogates, NaN and infinities, numbers that a double cannot hold, nesting that some
parser refuses, keys that the AI SDK's JSON parser refuses, sheer size. A value that went through ``clean``
is the same value after ``orjson.dumps``, PostgreSQL's ``jsonb``, ``json.loads`` or ``orjson.loads``, and
JavaScript's ``JSON.parse``; a value that ``check`` let pass is one that ``clean`` would keep, but for the
spelling of numbers (``1.0`` and ``1``).
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import enum
import math
from collections.abc import Mapping, Set
from typing import Any

from chat.errors import InvalidInput

#: Nesting that is kept. JSON itself has no bound; Python 3.11 cannot read back what is deeper than 1,000.
MAX_DEPTH = 64
#: Bytes of one value (a tool's input or output, one data part): about its length as UTF-8 JSON.
MAX_VALUE_BYTES = 1 << 20
#: ``Number.MAX_SAFE_INTEGER``: beyond it JavaScript loses digits, and ``jsonb`` hands a float back as an
#: integer of up to 309 digits, which orjson refuses to write.
MAX_SAFE_NUMBER = 2**53 - 1
REPLACEMENT = "\ufffd"
CUT = "\u2026"
TOO_DEEP = "[too deep]"

#: The clients parse with ``secureJsonParse``: an object with one of these keys ends their stream.
#: (``constructor`` only where its value is an object that has ``prototype``.)
_RENAMED_KEYS = {"__proto__": "_proto_", "constructor": "_constructor_"}

_SCALAR_BYTES = 8
_DROPPED = object()


def clean_text(text: str) -> str:
    """``text`` without NUL and lone surrogates, each of which becomes U+FFFD; a split pair is joined.

    PostgreSQL refuses both in ``text`` and ``jsonb``.
    """
    if "\x00" in text:
        text = text.replace("\x00", REPLACEMENT)
    if text.isascii():
        return text if type(text) is str else str.__str__(text)
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text if type(text) is str else str.__str__(text)


def split_held(text: str) -> tuple[str, str]:
    """``text`` as what may go out now and the high surrogate at its end, which waits for its other half."""
    if text and "\ud800" <= text[-1] <= "\udbff":
        return text[:-1], text[-1]
    return text, ""


def clean(value: Any, limit: int = MAX_VALUE_BYTES) -> Any:
    """``value`` as plain JSON data that every store and client keeps unchanged. Never raises, never fails.

    Repairs: text as in ``clean_text``; NaN and infinities become null, as in JavaScript; other numbers
    beyond ``MAX_SAFE_NUMBER`` become text; whole floats become integers (-0.0 is 0); what is nested deeper
    than ``MAX_DEPTH`` becomes ``TOO_DEEP``; keys become text, and those that a client refuses are renamed;
    what is no JSON is dumped, listed or named as text. From ``limit`` bytes on the rest is left out, text
    being cut with ``CUT`` at its end.
    """
    return _Cleaner(limit).top(value)


def check(value: Any, field: str, limit: int = MAX_VALUE_BYTES) -> None:
    """Refuse a client's parsed JSON that ``clean`` would have to repair.

    Raises ``InvalidInput`` whose field is the exact path under ``field``, as in ``messages.0.parts.1.text``.
    """
    size = _check(value, field, 1)
    if size > limit:
        raise InvalidInput(field, f"Must not be larger than {limit} bytes.")


def _check(value: Any, path: str, depth: int) -> int:
    if isinstance(value, str):
        return _check_text(value, path)
    if value is None or isinstance(value, bool):
        return _SCALAR_BYTES
    if isinstance(value, int | float):
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidInput(path, "Must be a finite number.")
        if not -MAX_SAFE_NUMBER <= value <= MAX_SAFE_NUMBER:
            raise InvalidInput(path, f"Numbers must lie within ±{MAX_SAFE_NUMBER}.")
        return _SCALAR_BYTES
    if depth > MAX_DEPTH:
        raise InvalidInput(path, f"Must not be nested deeper than {MAX_DEPTH} levels.")
    size = 2
    if isinstance(value, list):
        for index, item in enumerate(value):
            size += 1 + _check(item, f"{path}.{index}", depth + 1)
        return size
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise InvalidInput(path, "Keys must be text.")
            size += 2 + _check_text(key, path)
            if _is_refused(key, item):
                raise InvalidInput(path, f"The key {key} is not allowed.")
            size += _check(item, f"{path}.{key[:64]}", depth + 1)
        return size
    raise InvalidInput(path, "Must be JSON.")


def _check_text(text: str, path: str) -> int:
    if "\x00" in text:
        raise InvalidInput(path, "Must not hold NUL characters.")
    if text.isascii():
        return len(text) + 2
    try:
        return len(text.encode()) + 2
    except UnicodeEncodeError:
        raise InvalidInput(path, "Must not hold unpaired surrogates.") from None


def _is_refused(key: str, item: Any) -> bool:
    return key == "__proto__" or (key == "constructor" and isinstance(item, Mapping) and "prototype" in item)


class _Cleaner:
    """One walk over one value, with what is left of its bytes."""

    __slots__ = ("left",)

    def __init__(self, limit: int) -> None:
        self.left = limit

    def top(self, value: Any) -> Any:
        try:
            result = self.walk(value, 1)
        except Exception:  # a mapping of the agent's own making, say, that fails when read
            result = self.text(clean_text(_shown(value)))
        return None if result is _DROPPED else result

    def walk(self, value: Any, depth: int) -> Any:
        """The cleaned value, or ``_DROPPED`` where no room is left."""
        if isinstance(value, str):
            return self.text(clean_text(value))
        if value is None or isinstance(value, bool | int | float):
            return self.scalar(value)
        if isinstance(value, Mapping | list | tuple | Set):
            if depth > MAX_DEPTH:
                return self.text(TOO_DEEP)
            if not self.pay(2):
                return _DROPPED
            return self.mapping(value, depth) if isinstance(value, Mapping) else self.items(value, depth)
        plain = _plain(value)
        # An object that dumps to another object that dumps … is deep, too.
        return self.text(TOO_DEEP) if depth > MAX_DEPTH else self.walk(plain, depth + (type(plain) is not str))

    def pay(self, price: int) -> bool:
        if price > self.left:
            self.left = 0
            return False
        self.left -= price
        return True

    def text(self, text: str) -> Any:
        size = len(text) if text.isascii() else len(text.encode())
        if self.pay_exactly(size + 2):
            return text
        room = self.left - 2 - len(CUT.encode())
        if room < 0:
            self.left = 0
            return _DROPPED
        cut = text.encode()[:room].decode("utf-8", "ignore") + CUT
        self.left -= len(cut.encode()) + 2
        return cut

    def pay_exactly(self, price: int) -> bool:
        if price > self.left:
            return False
        self.left -= price
        return True

    def scalar(self, value: bool | float | None) -> Any:
        number = _number(value) if type(value) is not bool and value is not None else value
        if isinstance(number, str):
            return self.text(number)
        return number if self.pay(_SCALAR_BYTES) else _DROPPED

    def items(self, values: Any, depth: int) -> list[Any]:
        result = []
        for value in list(values):
            if not self.pay(1):
                break
            item = self.walk(value, depth + 1)
            if item is _DROPPED:
                break
            result.append(item)
        return result

    def mapping(self, values: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in list(values.items()):
            name = _key(key)
            if _is_refused(name, value):
                name = _RENAMED_KEYS[name]
            size = len(name.encode()) + 4
            if not self.pay(size):
                break
            item = self.walk(value, depth + 1)
            if item is _DROPPED:
                break
            result[name] = item
        return result


def _key(key: Any) -> str:
    if not isinstance(key, str):
        names = {None: "null", True: "true", False: "false"}
        is_name = key is None or isinstance(key, bool)
        key = names[key] if is_name else str(_number(key)) if isinstance(key, int | float) else _plain(key)
        if not isinstance(key, str):
            key = _shown(key)
    return clean_text(key)


def _number(value: float) -> int | float | str | None:
    if isinstance(value, int):
        if -MAX_SAFE_NUMBER <= value <= MAX_SAFE_NUMBER:
            return int(value)
        # Beyond a double's range JavaScript reads Infinity, and writes null.
        return str(int(value)) if value.bit_length() <= 1024 else None
    if not math.isfinite(value):
        return None
    if not -MAX_SAFE_NUMBER <= value <= MAX_SAFE_NUMBER:
        return repr(float(value))
    return int(value) if value.is_integer() else float(value)


def _plain(value: Any) -> Any:
    """What stands for an object that is no JSON: text, or something nearer to JSON."""
    try:
        if isinstance(value, enum.Enum):
            return value.value
        if isinstance(value, datetime.date | datetime.time):
            return value.isoformat()
        if isinstance(value, bytes | bytearray | memoryview):
            return base64.b64encode(value).decode()
        if callable(dump := getattr(value, "model_dump", None)):
            return dump(mode="json")
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    except Exception:  # noqa: S110 - whatever the object does, it must not end the turn
        pass
    return _shown(value)


def _shown(value: Any) -> str:
    try:
        return str.__str__(str(value))
    except Exception:
        return f"[{type(value).__name__}]"

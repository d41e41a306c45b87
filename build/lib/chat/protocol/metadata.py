"""A message's metadata: what of it may be sent, and how it is merged."""

from __future__ import annotations

from typing import Any

from chat.protocol.sanitize import clean

#: 6.0.326 and 7 skip these keys when they merge, for fear of prototypes; 5.0.200 skips them, too, and 6.0.150
#: does not; and all keep them where there was no metadata before. So they are left out at every depth.
_LEFT_OUT = frozenset({"__proto__", "_proto_", "constructor", "_constructor_", "prototype"})


def clean_metadata(value: Any) -> dict[str, Any] | None:
    """An agent's ``messageMetadata`` as all clients merge it alike; ``None`` where nothing is left of it."""
    metadata = _without(clean(value))
    return metadata if isinstance(metadata, dict) and metadata else None


def merge(base: dict[str, Any] | None, override: Any) -> dict[str, Any] | None:
    """``override`` over ``base``: objects are merged at every depth, all else is replaced. A new value.

    The rule is the AI SDK's ``mergeObjects``. What is no object is not metadata, and changes nothing.
    """
    if not isinstance(override, dict):
        return base
    result = dict(base or {})
    for key, value in override.items():
        known = result.get(key)
        both = isinstance(known, dict) and isinstance(value, dict)
        result[key] = merge(known, value) if both else value
    return result


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(item) for key, item in value.items() if key not in _LEFT_OUT}
    return [_without(item) for item in value] if isinstance(value, list) else value

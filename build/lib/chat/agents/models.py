"""Which models a client may choose: per send (``model``) and per thread (``metadata.model``)."""

from __future__ import annotations

from typing import Any

from chat import conf
from chat.errors import InvalidInput

ANY = "*"


def allowed_models() -> list[str]:
    """What ``CHAT_MODEL`` (the default, first) and ``CHAT_MODELS`` name; ``*`` stands for any."""
    return [name for name in dict.fromkeys([conf.get("MODEL"), *conf.get("MODELS")]) if name]


def is_allowed(name: str) -> bool:
    allowed = allowed_models()
    return name in allowed or ANY in allowed


def require_allowed(name: Any, field: str) -> None:
    """Refuse a model that no client may choose; None chooses none. Raises InvalidInput."""
    if name is None:
        return
    if not isinstance(name, str) or not is_allowed(name):
        known = [one for one in allowed_models() if one != ANY]
        choice = f"The models here are {', '.join(known)}." if known else "There is no choice of models here."
        raise InvalidInput(field, f"No such model. {choice}")

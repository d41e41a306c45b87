"""How much of a proof is run: the short form with every ``make test``, the long one by ``make proof``."""

from __future__ import annotations

import os

LONG = os.environ.get("PROOF") == "long"


def rounds(short: int, long: int) -> int:
    """How often a proof repeats what it does."""
    return long if LONG else short

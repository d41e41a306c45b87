"""Numbers as options of commands."""

from __future__ import annotations

import argparse


def batch_size(text: str) -> int:
    """How much is done at once. Raises ArgumentTypeError."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 10000")
    return int(text)

"""Who of the staff has looked at whose transcript."""

from __future__ import annotations

from typing import Any

from chat.models import TranscriptView


def note_view(viewer: Any, kind: Any, seen: Any) -> None:
    """Note that the page of an object was opened. Before it is shown: a page whose view cannot be noted is not."""
    TranscriptView.objects.create(viewer=viewer, kind=kind, seen=str(seen))

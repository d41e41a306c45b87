"""Import and export of whole threads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from chat.agents.models import is_allowed
from chat.errors import InvalidInput
from chat.protocol.portable.formats import conversations_of
from chat.protocol.portable.ours import FORMAT, VERSION
from chat.store.portable import own_threads, read_whole, write_conversation
from chat.store.scope import Scope


@dataclass(slots=True)
class Report:
    """What became of a file's conversations, each by its ``index`` in the file."""

    imported: list[dict[str, Any]] = field(default_factory=list)
    there_already: list[dict[str, Any]] = field(default_factory=list)
    refused: list[dict[str, Any]] = field(default_factory=list)


def import_document(scope: Scope, document: Any) -> Report:
    """Make threads of the asker's out of a parsed file, each in a transaction of its own: what was imported before is
    found again, so a file may be imported any number of times, and on after a failure. Raises InvalidInput for a file
    of no known kind; a bad conversation is in the report with the field that is wrong.
    """
    report = Report()
    for index, read in conversations_of(document):
        if isinstance(read, InvalidInput):
            report.refused.append({"index": index, "field": read.field, "message": read.text})
            continue
        model = read.metadata.get("model")
        if model is not None and not (isinstance(model, str) and is_allowed(model)):
            del read.metadata["model"]  # it would be chosen for what is said next
        thread, created = write_conversation(scope, read)
        about = {"index": index, "thread_id": str(thread)}
        if created:
            report.imported.append(about | {"messages": len(read.messages), "left_out": read.left_out})
        else:
            report.there_already.append(about)
    return report


def export_document(scope: Scope) -> Iterator[bytes]:
    """The asker's own threads as one JSON document, piece by piece: one thread at a time is in memory."""
    about = {"format": FORMAT, "version": VERSION, "exported_at": datetime.now(UTC)}
    yield orjson.dumps(about)[:-1] + b',"threads":['
    for place, thread in enumerate(own_threads(scope)):
        yield (b"," if place else b"") + orjson.dumps(read_whole(scope, thread))
    yield b"]}"


def document_of(thread: dict[str, Any]) -> dict[str, Any]:
    """The export of one thread."""
    return {"format": FORMAT, "version": VERSION, "exported_at": datetime.now(UTC), "threads": [thread]}

"""Where a message stands among its versions: what an edit, or another answer, has replaced."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Q

from chat.models import Message


@dataclass(frozen=True, slots=True)
class Place:
    """The ``number``-th of ``count`` versions; ``current`` is the id of the one that is, where that is another."""

    number: int
    count: int
    current: int | None

    def __str__(self) -> str:
        return f"Version {self.number} of {self.count}"


def places(messages: Iterable[Message]) -> dict[int, Place]:
    """By id, for those of the messages that have more than one version."""
    firsts = {message.version_of_id or message.pk for message in messages}
    families: dict[int, list[tuple[int, bool]]] = {}
    found = Message.objects.filter(Q(pk__in=firsts) | Q(version_of__in=firsts)).order_by("pk")
    for pk, first, is_current in found.values_list("pk", "version_of", "is_current"):
        families.setdefault(first or pk, []).append((pk, is_current))
    told: dict[int, Place] = {}
    for family in families.values():
        current = next((pk for pk, is_current in family if is_current), None)
        for number, (pk, _) in enumerate(family, 1):
            if len(family) > 1:
                told[pk] = Place(number, len(family), None if current == pk else current)
    return told

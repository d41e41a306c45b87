"""Lengths of time as people write them on a command line."""

from __future__ import annotations

import re
from datetime import timedelta

# Seconds, and the names of the unit; those of more than one letter may have an s.
UNITS = (
    (1, ("s", "sec", "second")),
    (60, ("min", "minute")),
    (3_600, ("h", "hour")),
    (86_400, ("d", "day")),
    (7 * 86_400, ("w", "week")),
)
FORMS = "'30 min', '12 hours', '7 days', '2 weeks', or 90s, 30min, 12h, 7d, 2w"
LONGEST = timedelta(days=36_500)
_FORM = re.compile(r"(\d{1,10}) ?([a-z]+)", re.ASCII)


def interval(text: str) -> timedelta:
    """What one number and one unit mean, from a second to a hundred years. Raises ValueError, which lists the forms.

    A bare ``m`` is refused: it might be months.
    """
    form = _FORM.fullmatch(text.strip().lower())
    for seconds, names in UNITS:
        if form and form[2] in {*names, *(f"{name}s" for name in names if len(name) > 1)}:
            found = seconds * int(form[1])
            if 0 < found <= LONGEST.total_seconds():
                return timedelta(seconds=found)
    raise ValueError(f"{text!r} is no length of time that is understood; write {FORMS}.")

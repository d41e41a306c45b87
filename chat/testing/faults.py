"""Kill or stop a process at a commit: ``FAULT=append:after#3:kill`` behind its third append.

Add ``chat.testing.faults.Faults`` to the INSTALLED_APPS of the servers under test, and set ``FAULT`` in the
environment of the one that is to be struck. The points are those of ``chat.telemetry``: the name of a commit, before
or after it. ``pause`` instead of ``kill`` is SIGSTOP, until somebody sends SIGCONT. Both hit the thread that commits,
before its next instruction. Without ``FAULT`` nothing is registered.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from collections import Counter

from django.apps import AppConfig

from chat import telemetry

SIGNALS = {"kill": signal.SIGKILL, "pause": signal.SIGSTOP}


class Fault:
    """Registered with ``chat.telemetry``: counts the points that are passed, and strikes once."""

    def __init__(self, text: str) -> None:
        match = re.fullmatch(r"(\w+:(?:before|after))#(\d+):(kill|pause)", text)
        if match is None:
            raise ValueError(f"FAULT={text!r} is not like append:after#3:kill")
        self.point, self.number, self.signal = match[1], int(match[2]), SIGNALS[match[3]]
        self._passed: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, point: str) -> None:
        with self._lock:
            self._passed[point] += 1
            strikes = point == self.point and self._passed[point] == self.number
        if strikes:
            signal.pthread_kill(threading.get_ident(), self.signal)


class Faults(AppConfig):
    name = "chat.testing.faults"

    def ready(self) -> None:
        arm(os.environ.get("FAULT", ""))


def arm(text: str) -> None:
    """Strike where ``text`` says; nowhere, if it is empty."""
    if text:
        telemetry.commit_observers.append(Fault(text))

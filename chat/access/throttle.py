"""How many requests somebody may make: a bucket for each, in this process.

It keeps one client from taking all of a process's time, and costs no statement. What must be exact, turns and tokens,
is a quota in the database (``store.quotas``).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from threading import Lock

from chat import conf
from chat.errors import TooManyRequests

# Who was longest away is forgotten first, and begins with a full bucket again.
KNOWN = 10_000


class Throttle:
    """Buckets that are filled with ``CHAT_<setting>`` a minute and hold as many; 0: no bound."""

    def __init__(self, setting: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._setting, self._clock = setting, clock
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()  # what was left, and when
        self._lock = Lock()

    def take(self, key: Hashable) -> None:
        """One request more of ``key``. Raises TooManyRequests."""
        self._add(key, -1)

    def require(self, key: Hashable) -> None:
        """Raises TooManyRequests where ``take`` would, and takes nothing."""
        self._add(key, 0)

    @contextmanager
    def failure(self, key: Hashable) -> Iterator[None]:
        """Around what counts if it fails. It is taken before, so that many at once are not one, and given back after,
        also where another bucket did not let it happen. Raises TooManyRequests.
        """
        self.take(key)
        try:
            yield
        except TooManyRequests:
            self._add(key, 1)
            raise
        self._add(key, 1)

    def _add(self, key: Hashable, number: int) -> None:
        most = conf.get(self._setting)
        if not most:
            return
        with self._lock:
            now = self._clock()
            left, then = self._buckets.pop(key, (float(most), now))
            left = min(most, left + (now - then) * most / 60 + max(0, number))
            self._buckets[key] = (left + min(0, number) if left >= 1 else left, now)
            if len(self._buckets) > KNOWN:
                self._buckets.popitem(last=False)
        if left < 1:
            raise TooManyRequests(retry_after=max(1, round((1 - left) * 60 / most)))


# By user's primary key; by the address of those who are nobody; failed logins by address and name, and by address.
requests = Throttle("REQUESTS_A_MINUTE")
strangers = Throttle("STRANGERS_A_MINUTE")
logins = Throttle("LOGINS_A_MINUTE")
logins_of_address = Throttle("LOGINS_OF_ADDRESS_A_MINUTE")

from __future__ import annotations

import time

import pytest

from chat.store.sql import UNAVAILABLE, drop_broken_connections, one_transaction, rows


@pytest.mark.django_db(transaction=True)
def test_who_has_slept_too_long_in_a_transaction_is_told_that_the_database_was_away() -> None:
    def sleep() -> None:
        with one_transaction():
            rows("SET LOCAL idle_in_transaction_session_timeout = '30ms'")
            time.sleep(0.3)

    with pytest.raises(UNAVAILABLE):
        sleep()
    drop_broken_connections()
    assert rows("SELECT 1 AS one") == [{"one": 1}]

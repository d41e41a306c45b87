"""The PostgreSQL that tests keep running for themselves, where DATABASE_URL names none."""

from __future__ import annotations

import os
from pathlib import Path

PLACE = Path(__file__).resolve().parents[1] / ".data" / f"test-postgres-{os.environ.get('TEST_POSTGRES', 'default')}"
# What a crash would cost does not matter here; what a test costs does.
UNSAFE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}

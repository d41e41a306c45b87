from __future__ import annotations

from tests.acceptance.conftest import nursery, postgres, reachable_by_all

__all__ = ["nursery", "postgres", "reachable_by_all"]

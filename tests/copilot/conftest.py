from __future__ import annotations

from typing import Any

import pytest

from chat.conf import Phase


@pytest.fixture(params=list(Phase))
def phase(request: pytest.FixtureRequest, settings: Any) -> Phase:
    """The test runs in every phase of the roll-out."""
    settings.COPILOT_MESSAGES_PHASE = request.param
    return Phase(request.param)

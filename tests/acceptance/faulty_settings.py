"""The project's settings with an application that kills or stops the process where ``FAULT`` says."""

from __future__ import annotations

from chatproject.settings import *  # noqa: F403
from chatproject.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "chat.testing.faults.Faults"]

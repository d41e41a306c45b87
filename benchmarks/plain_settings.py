"""The demo project, with a view of Django REST framework's own beside ours."""

from __future__ import annotations

from chatproject.settings import *  # noqa: F403

ROOT_URLCONF = "benchmarks.plain"

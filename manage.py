#!/usr/bin/env python
"""Django's command line, with a database at hand: where DATABASE_URL names none, an embedded one is kept running."""

from __future__ import annotations

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatproject.settings")
    from django.conf import settings
    from django.core.management import execute_from_command_line

    from chatproject import embedded_postgres

    if settings.EMBEDDED_POSTGRES:
        embedded_postgres.start(settings.EMBEDDED_POSTGRES)
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()

"""Settings of the tests: the demo project's, on a database server of their own.

``GENERIC_PLAN=1`` runs them with prepared statements and generic plans only, as a busy server comes to.
"""

from __future__ import annotations

import os
import sys

os.environ["DEBUG"] = "1"
os.environ.setdefault("DATABASE_POOL", "48")

from chatproject import embedded_postgres
from chatproject.settings import *  # noqa: F403
from chatproject.settings import DATABASES, EMBEDDED_POSTGRES, database
from tests.postgres import PLACE

if EMBEDDED_POSTGRES:
    EMBEDDED_POSTGRES = PLACE
    DATABASES = {"default": database(embedded_postgres.dsn(EMBEDDED_POSTGRES))}

# Two Python versions may run at once on one server.
DATABASES["default"]["TEST"] = {"NAME": f"test_chat_{sys.version_info.major}{sys.version_info.minor}"}
if os.environ.get("GENERIC_PLAN"):
    DATABASES["default"]["OPTIONS"] |= {
        "options": "-c plan_cache_mode=force_generic_plan",
        "server_side_binding": True,
        "prepare_threshold": 0,
    }

# In memory: nothing is left behind.
STORAGES["default"] = {"BACKEND": "django.core.files.storage.InMemoryStorage"}  # noqa: F405
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
CHAT_STREAM_LINGER_SECONDS = 0.5
CHAT_DRAIN_SECONDS = 0.2
CHAT_STRANGERS_A_MINUTE = 0  # all tests come from one address

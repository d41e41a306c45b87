from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "assistant.settings")
application = get_asgi_application()

from chat.asgi import with_chat  # noqa: E402  (needs the application registry)

application = with_chat(application)

from __future__ import annotations

from django.apps import AppConfig

from chat import metrics, tracing


class ChatConfig(AppConfig):
    name = "chat"
    verbose_name = "Chat"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from chat import checks  # noqa: F401  (registers them; needs the models)
        from chat.store import attachments  # noqa: F401  (hears of users that are deleted)

        metrics.install()
        tracing.install()

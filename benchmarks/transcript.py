"""A page of 200 messages (about 200 KB of JSON) through the API, against a ModelSerializer view of the same rows::

    python -m benchmarks.transcript [--rounds 60]

Both run in this process behind the same middleware and authentication; what is compared is the process's CPU.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from statistics import median

import django
import psycopg

from benchmarks.report import Row, table
from benchmarks.stage import PRODUCTION, Stage

FILL = """
WITH thread AS (INSERT INTO chat_threads (owner_id, client_id) SELECT min(id), 't1' FROM auth_user RETURNING id)
INSERT INTO chat_messages (thread_id, role, parts, metadata)
SELECT id, CASE n % 2 WHEN 0 THEN 'user' ELSE 'assistant' END,
       jsonb_build_array(jsonb_build_object('type', 'text', 'text', repeat(md5(n::text) || ' ', 24))),
       '{"model": "large-2", "finishReason": "stop"}'
  FROM thread, generate_series(1, 200) n
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=60)
    chosen = parser.parse_args()
    with Stage() as stage, psycopg.connect(stage.dsn, autocommit=True) as connection:
        connection.execute(FILL)
        connection.execute("VACUUM ANALYZE chat_messages")
        os.environ |= {**PRODUCTION, "DATABASE_URL": stage.dsn, "DJANGO_SETTINGS_MODULE": "chatproject.settings"}
        os.environ |= {"SECURE_SSL_REDIRECT": "0"}
        django.setup()
        from django.http import HttpRequest
        from django.http.response import HttpResponseBase
        from django.test import Client
        from django.urls import clear_url_caches, path
        from rest_framework import generics, serializers

        from chat.models import Message
        from chatproject import urls

        class AsSerializer(serializers.ModelSerializer[Message]):
            class Meta:
                model = Message
                fields = ("id", "role", "parts", "metadata", "turn_id", "client_id", "created_at")

        class Plain(generics.ListAPIView[Message]):
            serializer_class = AsSerializer
            queryset = Message.objects.filter(thread__client_id="t1", is_current=True).order_by("id")

        def plain(request: HttpRequest) -> HttpResponseBase:
            return Plain.as_view()(request)

        urls.urlpatterns.insert(0, path("plain/", plain))  # type: ignore[arg-type]
        clear_url_caches()
        client = Client(headers={"authorization": f"Bearer {stage.token}", "host": "127.0.0.1"})

        def asked(address: str) -> Callable[[], int]:
            def ask() -> int:
                response = client.get(address)
                assert response.status_code == 200, response.content
                return len(response.content)

            return ask

        ours, theirs = asked("/api/threads/t1/messages/?limit=200"), asked("/plain/")
        sizes = ours(), theirs()
        taken: dict[Callable[[], int], list[float]] = {ours: [], theirs: []}
        for _ in range(chosen.rounds):
            for ask, times in taken.items():
                begun = time.process_time()
                ask()
                times.append((time.process_time() - begun) * 1000)
        one, two = median(taken[ours]), median(taken[theirs])
        row = Row(
            "a page of 200 messages: requests per CPU second of the process",
            1000 / one,
            "requests/s",
            1000 / two,
            "ratio",
            at_least=5,
            note=f"{one:.2f} ms of CPU against {two:.2f} of a ModelSerializer; {sizes[0]:,} and {sizes[1]:,} bytes",
        )
        print(table([row]))


if __name__ == "__main__":
    main()

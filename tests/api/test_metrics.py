"""Figures and spans: they move with the work, and hold nothing that anybody said."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AbstractUser
from django.utils import timezone
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

from chat import conf
from chat.models import CopilotChat, ReconcileRun
from chat.store.tokens import create_token
from chat.testing.client import Client, said
from tests.factories import ThreadFactory, TurnFactory, UserFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]
WORD = "Canary-7702"
_spans = InMemorySpanExporter()


@pytest.fixture
def scraper(db: None) -> Client:
    """A Prometheus with the token of an account of the staff that may do nothing else."""
    watcher = UserFactory.create(is_staff=True)
    return Client({"authorization": f"Bearer {create_token(watcher.get_username())}"})


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """What OpenTelemetry's SDK was told meanwhile; a process takes one provider."""
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(_spans))
        trace.set_tracer_provider(provider)
    _spans.clear()
    yield _spans
    _spans.clear()


async def figures(scraper: Client) -> dict[str, float]:
    """Every sample, by its name and the values of its labels."""
    answer = await scraper.request("GET", "/metrics", headers={"accept": "application/openmetrics-text"})
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = text_string_to_metric_families(answer.body.decode())
    return {
        " ".join([sample.name, *(value for name, value in sample.labels.items() if name != "le")]): sample.value
        for family in families
        for sample in family.samples
    }


async def test_a_turn_moves_the_figures(client: Client, scraper: Client) -> None:
    before = await figures(scraper)
    await client.request("POST", "/api/chat", said("t1", "/tokens 3 0", "m1"))
    await client.request("POST", "/api/chat", said("t2", "/fail", "m2"))
    after = await figures(scraper)
    for name, by in {
        "chat_turns_begun_total": 2,
        "chat_turns_ended_total completed": 1,
        "chat_turns_ended_total failed": 1,
        "chat_run_seconds_count": 2,
        "chat_commit_seconds_count begin": 2,
        "chat_commit_seconds_count finish": 2,
    }.items():
        assert after[name] - before.get(name, 0) == by, name
    assert after["chat_first_chunk_seconds_count"] > before["chat_first_chunk_seconds_count"]
    assert after["chat_log_lag_seconds_count"] > before["chat_log_lag_seconds_count"]
    assert after["chat_live_runs"] == after["chat_readers"] == 0


@sync_to_async
def trouble() -> None:
    """A turn that is stuck, one that is alive, one that waits in a queue, and a mirror that has drifted."""
    now, ago = timezone.now(), timezone.now() - timedelta(minutes=5)
    TurnFactory.create(status="streaming", heartbeat_at=ago)
    TurnFactory.create(status="streaming", heartbeat_at=now)
    TurnFactory.create(status="queued", created_at=ago)
    TurnFactory.create(status="awaiting_approval")
    CopilotChat.objects.create(user=ThreadFactory.create().owner, mirror_failures=3)
    common = {"mode": "check", "phase": "dual", "is_clean": False}
    ReconcileRun.objects.create(scope="all", found={"missing": 9}, finished_at=ago - timedelta(days=1), **common)
    ReconcileRun.objects.create(
        scope="all", found={"missing": 5, "extra": 1}, mended={"missing": 3}, finished_at=ago, **common
    )
    ReconcileRun.objects.create(scope="chat x", found={"missing": 7}, finished_at=now, **common)


async def test_what_stands_in_the_database_is_told_by_every_process_alike(scraper: Client) -> None:
    assert "chat_mirror_drift missing" not in await figures(scraper)
    await trouble()
    found = await figures(scraper)
    told = {name: value for name, value in found.items() if name.startswith(("chat_turns ", "chat_turns_stuck"))}
    assert told == {
        "chat_turns queued": 1,
        "chat_turns streaming": 2,
        "chat_turns awaiting_approval": 1,
        "chat_turns_stuck": 1,
    }
    assert 300 <= found["chat_oldest_heartbeat_seconds"] < 400
    assert 300 <= found["chat_oldest_queued_seconds"] < 400
    assert 300 <= found["chat_mirror_check_age_seconds"] < 400
    assert found["chat_mirror_failed_chats"] == 1
    drift = {name.removeprefix("chat_mirror_drift "): value for name, value in found.items() if "_drift " in name}
    assert drift == {"missing": 2, "changed": 0, "extra": 1, "misordered": 0}


async def test_a_turn_its_agent_and_its_commits_are_spans_without_content(
    client: Client, user: AbstractUser, settings: Any, spans: InMemorySpanExporter
) -> None:
    await client.request("POST", "/api/chat", said("t1", f"/tokens 2 0 {WORD}", "m1"))
    settings.CHAT_AGENT = "tests.api.test_metrics.Broken"
    await client.request("POST", "/api/chat", said("t2", WORD, "m2"))
    done = spans.get_finished_spans()
    whole, broken = (one for one in done if one.name == "chat.turn")
    assert (whole.attributes or {})["chat.status"] == "completed"
    assert (broken.attributes or {})["chat.code"] == "agent_error"
    of_turn = {one.name: one for one in done if one.parent and one.parent.span_id == broken.context.span_id}
    assert of_turn["chat.agent"].status.description == "RuntimeError"
    assert (of_turn["chat.commit"].attributes or {})["chat.commit"] == "finish"
    assert all(one.parent is None for one in done if (one.attributes or {}).get("chat.commit") == "append")
    assert not [one for one in done if WORD in one.to_json()]
    by_worker = {"claim"} if conf.get("RUNNER") == "worker" else set()
    assert {commit_of(one) for one in done if one.name == "chat.commit"} == {"begin", "append", "finish"} | by_worker


def commit_of(span: ReadableSpan) -> object:
    return (span.attributes or {})["chat.commit"]


class Broken:
    """Says what was said to it, and breaks with it in its error."""

    async def run(self, turn: Any) -> Any:
        yield {"type": "text-start", "id": "1"}
        yield {"type": "text-delta", "id": "1", "delta": turn.text}
        raise RuntimeError(turn.text)

"""Which model answers: the client's choice, else the thread's, else the default; and only one of the list."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from chat.agents.defects import agent_problems
from chat.agents.pydantic_ai import configured
from chat.agents.pydantic_ai.configured import make_model
from chat.models import Message, Thread, Turn
from chat.testing.client import Client, said
from tests.agents.conftest import MODEL, Start
from tests.agents.provider import Exchange, piece, usage
from tests.agents.test_contract import turn_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]

SMALL = "openai:small"


async def answer(exchange: Exchange) -> None:
    await exchange.stream(piece("ANSWER"), piece(finish="stop"), usage())


async def test_a_client_chooses_a_model_of_the_list_for_one_send(
    client: Client, start_provider: Start, settings: Any
) -> None:
    provider = await start_provider(answer)
    settings.CHAT_MODELS = [SMALL]
    for model in (SMALL, MODEL):
        chunks = (await client.send("t1", "QUESTION", model=model)).chunks()
        assert chunks[0]["messageMetadata"]["model"] == model
    await client.send("t1", "QUESTION")
    assert [asked.body["model"] for asked in provider.asked] == ["small", "test-model", "test-model"]
    assert [turn.model async for turn in Turn.objects.order_by("id")] == [SMALL, MODEL, MODEL]
    assert (await Message.objects.filter(role="assistant").aearliest("id")).model == SMALL


@pytest.mark.parametrize("models", [[], [SMALL]])
async def test_a_model_that_is_not_on_the_list_is_refused_and_nothing_is_written(
    client: Client, settings: Any, models: list[str]
) -> None:
    settings.CHAT_MODELS = models
    refused = await client.send("t1", "QUESTION", model="openai:huge")
    error = refused.json()["error"]
    assert (refused.status, error["code"], error["field"]) == (400, "invalid", "model")
    assert not await Thread.objects.aexists()


async def test_a_thread_has_a_model_of_its_own(client: Client, start_provider: Start, settings: Any) -> None:
    provider = await start_provider(answer)
    settings.CHAT_MODELS = [SMALL]
    made = await client.request("POST", "/api/threads/", {"id": "t1", "metadata": {"model": SMALL}})
    assert made.status == 201
    await client.send("t1", "QUESTION")
    await client.send("t1", "QUESTION", model=MODEL)
    assert [turn.model async for turn in Turn.objects.order_by("id")] == [SMALL, MODEL]
    for method, path in (("POST", "/api/threads/"), ("PATCH", "/api/threads/t1/")):
        refused = await client.request(method, path, {"metadata": {"model": "openai:huge"}})
        assert (refused.status, refused.json()["error"]["field"]) == (400, "metadata.model")
    # A model that was taken off the list is not asked any more: the default is.
    settings.CHAT_MODELS = []
    await client.send("t1", "QUESTION")
    assert [asked.body["model"] for asked in provider.asked] == ["small", "test-model", "test-model"]


async def test_a_turn_that_waits_has_its_thread_s_model(client: Client, start_provider: Start, settings: Any) -> None:
    provider = await start_provider(answer)
    settings.CHAT_MODELS = [SMALL]
    await client.request("POST", "/api/threads/", {"id": "t1", "metadata": {"model": SMALL}})
    settings.CHAT_AGENT = "chat.agents.demo.agent"
    async with client.stream("POST", "/api/chat", said("t1", "/hang")) as stream:
        async for event in stream.events():
            if "Hanging" in str(event):  # the agent has been loaded by then
                break
        settings.CHAT_AGENT = ""
        async with client.stream("POST", "/api/chat", said("t1", "QUESTION", on_busy="enqueue")) as waiting:
            await client.request("POST", "/api/chat/t1/stop")
            await waiting.body()
    assert [asked.body["model"] for asked in provider.asked] == ["small"]


async def test_an_agent_that_judges_itself_is_given_any_model(client: Client, settings: Any) -> None:
    settings.CHAT_MODELS = ["*"]
    assert (await client.send("t1", "/tokens 1 0", model="whatever")).status == 200
    assert (await Turn.objects.aget()).model == "whatever"


async def test_names_that_clients_make_up_leave_no_more_models_behind_than_were_used_last(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    monkeypatch.setattr(configured, "MOST_MODELS", 2)
    settings.CHAT_MODELS = ["*"]
    turn = turn_of("QUESTION")
    made = {}
    for name in ("openai:0", "openai:1", "openai:0", "openai:2", "openai:0", "openai:3"):
        turn.model = name
        made.setdefault(name, weakref.ref(await configured.model_of(turn)))
    gc.collect()
    assert [name for name, model in made.items() if model() is not None] == ["openai:0", "openai:3"]


def test_the_name_openai_means_the_wire_that_the_address_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert type(make_model("openai:gpt-5")).__name__ == "OpenAIResponsesModel"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:11434/v1")
    model = make_model("openai:qwen3")
    assert (type(model).__name__, model.model_name) == ("ChatModel", "qwen3")


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ({"MODEL": "openai:gpt-5"}, "the model 'openai:gpt-5' cannot be used: Set the `OPENAI_API_KEY`"),
        ({"MODEL": "nobody:large"}, "the model 'nobody:large' cannot be used: Unknown model"),
        ({"MODEL": "test", "MODELS": ["nobody:large"]}, "the model 'nobody:large' cannot be used"),
        ({"PYDANTIC_AGENT": "tests.agents.robots.not_one"}, "is a dict, no Pydantic AI agent"),
        ({"PYDANTIC_AGENT": "tests.agents.robots.nobody"}, "ImportError"),
        ({"AGENT": "chat.agents.pydantic_ai.agent"}, "has no model: set CHAT_MODEL"),
    ],
)
def test_the_check_says_what_is_wrong_with_the_choice_of_a_model(
    settings: Any, monkeypatch: pytest.MonkeyPatch, choice: dict[str, Any], says: str
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    for name, value in choice.items():
        setattr(settings, f"CHAT_{name}", value)
    (problem,) = agent_problems()
    assert says in problem


def test_a_good_choice_passes(settings: Any) -> None:
    settings.CHAT_MODEL = "test"
    settings.CHAT_MODELS = ["*"]
    assert agent_problems() == []

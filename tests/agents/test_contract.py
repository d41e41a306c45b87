"""The contract of an agent: its example runs, what is wrong with a bad one is said, and how one fails is told."""

from __future__ import annotations

import re
import textwrap
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.core.checks import run_checks

from chat.agents import base, errors
from chat.agents.base import TurnContext
from chat.agents.defects import agent_problems
from chat.agents.errors import AgentError, failure_of, is_retryable
from chat.protocol.canonical import Canonical
from chat.protocol.fold import fold

HERE = "tests.agents.test_contract"


def turn_of(text: str) -> TurnContext:
    message = {"id": "1", "role": "user", "parts": [{"type": "text", "text": text}]}
    return TurnContext(thread_id="t", turn_id="m", user_id=1, history=[message], message=message)


async def test_the_example_of_the_contract_runs_and_is_ten_lines_long() -> None:
    example = re.search(r"::\n\n(    class Parrot:.*?)\n\nName it", base.__doc__ or "", re.DOTALL)
    assert example
    source = textwrap.dedent(example[1])
    assert len([line for line in source.splitlines() if line and '"""' not in line]) <= 10
    made: dict[str, Any] = {}
    exec(source, made)
    turn, canonical = turn_of("Polly wants a cracker"), Canonical()
    chunks = [chunk async for raw in made["Parrot"]().run(turn) for chunk in canonical.feed(raw)]
    assert fold([*chunks, *canonical.complete()])[1]["text"] == "Polly wants a cracker "
    assert turn.usage.totals()["total_tokens"] == 8
    assert canonical.dropped == 0


class Good:
    async def run(self, turn: TurnContext) -> AsyncIterator[Any]:
        yield {"type": "start"}


class TitlesAtOnce(Good):
    def title(self, turn: TurnContext) -> str:
        return "Title"


class HandsOn:
    def run(self, turn: TurnContext) -> AsyncIterator[Any]:
        return Good().run(turn)


class CalledItself:
    async def __call__(self, turn: TurnContext) -> AsyncIterator[Any]:
        yield {"type": "start"}


class RunIsAnObject:
    run = CalledItself()


class NoRun:
    pass


class RunIsText:
    run = "fast"


class Sync:
    def run(self, turn: TurnContext) -> list[Any]:
        return []


class PlainGenerator:
    def run(self, turn: TurnContext) -> Any:
        yield {"type": "start"}


class Coroutine:
    async def run(self, turn: TurnContext) -> list[Any]:
        return []


class NoArgument:
    async def run(self) -> AsyncIterator[Any]:
        yield {"type": "start"}


class TwoArguments:
    async def run(self, turn: TurnContext, more: int) -> AsyncIterator[Any]:
        yield {"type": "start"}


class NeedsArguments:
    def __init__(self, model: str) -> None: ...

    async def run(self, turn: TurnContext) -> AsyncIterator[Any]:
        yield {"type": "start"}


class Fussy(Good):
    def problems(self) -> list[str]:
        return ["there is no coffee"]


class Speechless(Good):
    def problems(self) -> list[str]:
        raise ValueError("no words")


instance = Good()


@pytest.mark.parametrize("name", ["Good", "instance", "HandsOn", "RunIsAnObject"])
def test_a_good_agent_passes(settings: Any, name: str) -> None:
    settings.CHAT_AGENT = f"{HERE}.{name}"
    assert agent_problems() == []


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("nodots", "is no dotted path"),
        ("a..b", "is no dotted path"),
        ("myproject.agents.Parrot", "there is no module 'myproject'"),
        ("tests.agents.nowhere.Agent", "there is no module 'tests.agents.nowhere'"),
        ("tests.agents.needy.Agent", "its module needs 'a_package_that_nobody_has', which is not installed"),
        ("tests.agents.broken.Agent", "its module raised ZeroDivisionError"),
        (f"{HERE}.Nobody", "has no 'Nobody'"),
        (f"{HERE}.NeedsArguments", "is a class that cannot be made without arguments"),
        (f"{HERE}.NoRun", "without a method `run`"),
        (f"{HERE}.turn_of", "is a function without a method `run`"),
        (f"{HERE}.RunIsText", "whose `run` cannot be called: it is a str"),
        (f"{HERE}.Sync", "is a plain function"),
        (f"{HERE}.PlainGenerator", "is a plain generator"),
        (f"{HERE}.Coroutine", "is a coroutine: it has no `yield`"),
        (f"{HERE}.NoArgument", "cannot be called with the turn alone: too many positional arguments"),
        (f"{HERE}.TwoArguments", "cannot be called with the turn alone: missing a required argument: 'more'"),
        (f"{HERE}.Fussy", "there is no coffee"),
        (f"{HERE}.TitlesAtOnce", "has a `title` that is no coroutine"),
        (f"{HERE}.Speechless", "cannot say what is wrong with it: ValueError: no words"),
    ],
)
def test_the_system_check_says_what_is_wrong_with_a_bad_agent(settings: Any, path: str, says: str) -> None:
    settings.CHAT_AGENT = path
    (found,) = run_checks(tags=["chat"], databases=[])
    assert found.id == "chat.E001"
    assert says in found.msg


def test_each_kind_of_error_has_a_code_of_its_own_and_a_text_to_show() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AgentError)]
    codes = [kind.code for kind in kinds]
    assert len(kinds) > 10
    assert len(set(codes)) == len(codes)
    assert all(len(code) <= 64 for code in codes)
    assert all(kind.message.endswith(".") for kind in kinds)
    assert [is_retryable(kind.code) for kind in kinds] == [kind.retryable for kind in kinds]
    assert not is_retryable("a_code_of_yesterday")


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (ValueError("sk-secret"), "agent_error"),
        (TimeoutError("sk-secret"), "model_timed_out"),
        (ConnectionResetError("sk-secret"), "model_unreachable"),
        (errors.ModelRefused(), "model_refused"),
    ],
)
def test_an_exception_becomes_one_of_the_two_kinds_and_what_it_says_is_kept_from_everyone(
    problem: Exception, code: str
) -> None:
    try:
        raise problem
    except Exception as raised:
        failure = failure_of(raised)
    assert failure.code == code
    assert "sk-secret" not in failure.text + failure.log
    if not isinstance(problem, AgentError):
        assert "test_contract.py" in failure.log

"""What is wrong with the agent that the settings name, said precisely."""

from __future__ import annotations

import inspect
import logging
from importlib import import_module
from typing import Any

from chat.agents.base import agent_path
from chat.telemetry import event

logger = logging.getLogger(__name__)

CALL = "`async def run(self, turn)` with `yield`"


def agent_problems() -> list[str]:
    """Everything that keeps the agent from answering, in words; empty when nothing does."""
    path = agent_path()
    found, problem = _found(path)
    if problem:
        return [f"{path!r} {problem}"]
    if inspect.isclass(found):
        try:
            found = found()
        except Exception as error:
            return [f"{path!r} is a class that cannot be made without arguments: {_said(error)}"]
    if problem := run_problem(found):
        return [f"{path!r} {problem}"]
    title = getattr(found, "title", None)
    if callable(title) and not inspect.iscoroutinefunction(title):
        return [f"{path!r} has a `title` that is no coroutine. Write `async def title(self, turn)`."]
    problems = getattr(found, "problems", None)
    if not callable(problems):
        return []
    try:
        return [str(one) for one in problems()]
    except Exception as error:
        return [f"{path!r} cannot say what is wrong with it: {_said(error)}"]


def log_agent_problems() -> None:
    """For a server that starts: the agent is loaded now, not in the first turn, and what is wrong is in the log."""
    for problem in agent_problems():
        logger.error("the agent cannot answer: %s", problem, extra=event("agent_defect"))


def run_problem(agent: Any) -> str:
    """What is wrong with an object's ``run``; empty for one that may well be an agent's."""
    run = getattr(agent, "run", None)
    kind = f"is a {type(agent).__name__}"
    if run is None:
        return f"{kind} without a method `run`: it needs {CALL}."
    if not callable(run):
        return f"{kind} whose `run` cannot be called: it is a {type(run).__name__}."
    code = inspect.unwrap(run)
    if not (inspect.isroutine(code) or inspect.isclass(code)):
        code = inspect.unwrap(type(code).__call__)
    if inspect.iscoroutinefunction(code):
        return f"has a `run` that is a coroutine: it has no `yield`, so there is nothing to iterate over. Write {CALL}."
    if inspect.isgeneratorfunction(code):
        return f"has a `run` that is a plain generator and would keep the event loop. Write {CALL}."
    if not inspect.isasyncgenfunction(code) and not _says_async(code):
        return (
            f"has a `run` that is a plain function. Write {CALL}, or annotate that it returns an AsyncIterator if it "
            "hands one on."
        )
    try:
        inspect.signature(run).bind(object())
    except TypeError as error:
        return f"has a `run` that cannot be called with the turn alone: {error}."
    except ValueError:  # written in C: it has no signature
        pass
    return ""


def _found(path: str) -> tuple[Any, str]:
    """What a dotted path names, or why it names nothing."""
    module_path, dot, name = path.rpartition(".")
    if not dot or not all(piece.isidentifier() for piece in path.split(".")):
        return None, "is no dotted path: it must look like 'myproject.agents.Parrot'."
    try:
        module = import_module(module_path)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_path == missing or module_path.startswith(f"{missing}."):
            return None, f"cannot be imported: there is no module {missing!r}."
        return None, f"cannot be imported: its module needs {missing!r}, which is not installed."
    except Exception as error:
        return None, f"cannot be imported: its module raised {_said(error)}"
    if not hasattr(module, name):
        return None, f"does not exist: the module {module_path!r} has no {name!r}."
    return getattr(module, name), ""


def _says_async(code: Any) -> bool:
    """Whether a plain function is annotated to return an async iterator, a generator or an iterable."""
    returns = getattr(code, "__annotations__", {}).get("return", "")
    return "Async" in (returns if isinstance(returns, str) else repr(returns))


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"

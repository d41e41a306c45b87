"""What each does when something goes wrong: found by doing it, told as it was found."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from threading import Barrier, Thread
from uuid import uuid4

import httpx

from benchmarks.peers.peer import SILENCE, Kept, Peer, Refused, Sent

RATE = 40
SETTLED_WITHIN = 60.0
AWAY = 0.3  # seconds between losing a connection and coming back


@dataclass(frozen=True, slots=True)
class Answered:
    """What a reader got of a stream: its events, and why there were no more."""

    events: list[bytes]
    end: str  # "ended", "left", "hangs", "cut", "nothing", or why it was refused

    @classmethod
    def of(cls, stream: Iterator[bytes] | None, enough: int | None = None, *, peer: Peer) -> Answered:
        """Read all of it, or until ``enough`` tokens were there."""
        if stream is None:
            return cls([], "nothing")
        events: list[bytes] = []
        tokens, told = 0, time.monotonic()
        try:
            for event in stream:
                events.append(event)
                if found := len(peer.tokens([event])):
                    tokens, told = tokens + found, time.monotonic()
                if enough is not None and tokens >= enough:
                    return cls(events, "left")
                if time.monotonic() - told > SILENCE:  # it only says that it is still there
                    return cls(events, "hangs")
        except httpx.TimeoutException:
            return cls(events, "hangs")
        except httpx.TransportError:
            return cls(events, "cut")
        return cls(events, "ended")


def sent(tokens: int) -> Sent:
    """A message that asks for an answer of its own."""
    return Sent(f"/paced {tokens} {RATE} {uuid4().hex}")


def reload(peer: Peer, tokens: int) -> str:
    """A page is reloaded in mid-answer: it knows the conversation and nothing of the answer."""
    first, after, _ = _interrupted(peer, tokens, with_cursor=False)
    before, then = peer.tokens(first.events), peer.tokens(after.events)
    if after.end == "nothing":
        return f"nothing: {len(before)} of {tokens} tokens were shown, the rest is gone for this reader"
    found = f"{len(then)} of {tokens} tokens, {_from(before, then)}; the stream {_said(after.end)}"
    if then[: len(before)] == before:
        same = set(_with_tokens(peer, first.events)) <= set(_with_tokens(peer, after.events))
        found += "; the bytes of the events are " + ("the same" if same else "others than before")
    return found


def reconnect(peer: Peer, tokens: int) -> str:
    """A connection is lost in mid-answer; the reader still has what it was shown, and says so where it can."""
    if not peer.has_cursor:
        return "no cursor: a reader that comes back starts anew"
    first, after, kept = _interrupted(peer, tokens, with_cursor=True)
    before, then = peer.tokens(first.events), peer.tokens(after.events)
    whole = before + then
    once = all(one < next_one for one, next_one in pairwise(whole)) and len(whole) == tokens
    stored = kept is not None and kept.answers == [whole]
    words = [f"{len(then)} tokens after the {len(before)} that were shown", "each once, none missing" if once else ""]
    if not once:
        words[-1] = f"{len(set(whole))} different ones of {tokens}, {len(whole) - len(set(whole))} of them twice"
    if kept is not None:
        words.append("together what is stored" if stored else "not what is stored")
    if len(peer.whole(after.events)) == tokens:
        words.append("at its end the stream brings the whole answer anew")
    return "; ".join(words)


def kill(peer: Peer, tokens: int) -> dict[str, str]:
    """``kill -9`` of the server in mid-answer, and the same command again: what is stored, and what a reader gets."""
    message = sent(tokens)
    stream = peer.ask(message)
    first = Answered.of(stream, tokens // 2, peer=peer)
    peer.server.kill()
    rest = Answered.of(stream, peer=peer)
    shown = peer.tokens(first.events + rest.events)
    peer.restart()
    restarted = time.monotonic()
    kept = peer.kept(message)
    while kept is not None and not kept.settled and time.monotonic() - restarted < SETTLED_WITHIN:
        time.sleep(0.1)
        kept = peer.kept(message)
    settled = time.monotonic() - restarted
    after = _joined(peer, message, None)
    found = {"shown": f"{len(shown)} tokens"}
    if kept is None:
        found["stored"] = "nothing is ever stored"
    else:
        stored = set(kept.answers[-1]) if kept.answers else set()
        share = len(stored & set(shown)) / max(1, len(shown))
        found["stored"] = (
            f"question: {_yes(kept.questions)}; answer: {len(stored)} tokens, {share:.0%} of what was shown"
        )
        waited = f" (after {settled:.0f} s)" if settled > 1 else ""
        found["state"] = f"{kept.state}{waited}" if kept.settled else f"{kept.state}, still after {settled:.0f} s"
    then = peer.tokens(after.events)
    found["reader"] = (
        "nothing to join" if after.end == "nothing" else f"{len(then)} tokens; the stream {_said(after.end)}"
    )
    return found


def double(peer: Peer, tokens: int) -> dict[str, str]:
    """The same message twice: as a retry whose first answer was lost on the way, after the end, and at one instant."""
    retried = sent(tokens)
    first = Answered.of(peer.ask(retried), tokens // 4, peer=peer)
    second = _asked(peer, retried)
    found = {"retried while it runs": _left(peer, retried, [first, second])}
    third = _asked(peer, retried)
    found["again after the end"] = _left(peer, retried, [first, second, third])
    raced, barrier, answers = sent(tokens), Barrier(2), []

    def race(tab: int) -> None:
        barrier.wait()
        answers.append(_asked(peer, raced, tab))

    racers = [Thread(target=race, args=(tab,)) for tab in range(2)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    found["two at once"] = _left(peer, raced, answers)
    return found


def _asked(peer: Peer, message: Sent, tab: int = 0) -> Answered:
    try:
        return Answered.of(peer.ask(message, tab), peer=peer)
    except Refused as refused:
        return Answered([], f"is refused ({refused})")


def _joined(peer: Peer, message: Sent, seen: list[bytes] | None) -> Answered:
    try:
        return Answered.of(peer.join(message, seen), peer=peer)
    except Refused as refused:
        return Answered([], f"is refused ({refused})")


def _interrupted(peer: Peer, tokens: int, *, with_cursor: bool) -> tuple[Answered, Answered, Kept | None]:
    message = sent(tokens)
    stream = peer.ask(message)
    first = Answered.of(stream, tokens // 3, peer=peer)
    stream.close()  # type: ignore[attr-defined]  # a generator's: it hangs up
    time.sleep(AWAY)
    after = _joined(peer, message, first.events if with_cursor else None)
    return first, after, peer.kept(message)


def _left(peer: Peer, message: Sent, answers: list[Answered]) -> str:
    """What the message has left behind, once nothing runs any more."""
    time.sleep(0.5)
    told = [peer.tokens(answer.events) for answer in answers]
    words = [f"run {times(peer.runs_of(message, told))}"]
    if (kept := peer.kept(message)) is not None:
        words.append(
            f"{kept.questions} question{_s(kept.questions)}, {len(kept.answers)} answer{_s(len(kept.answers))}"
        )
    same = len({answer[0] for answer in told if answer}) == 1
    words.append("all were shown the same answer" if same else "different answers were shown")
    words += [f"one {answer.end}" for answer in answers if answer.end.startswith("is refused")]
    return "; ".join(words)


def _with_tokens(peer: Peer, events: list[bytes]) -> list[bytes]:
    return [part.strip() for event in events for part in event.split(b"\n\n") if peer.stamp.search(part)]


def _from(before: list[int], then: list[int]) -> str:
    if not then:
        return "none at all"
    if then[0] == before[0]:
        return "from the first on"
    return "only what came afterwards" if then[0] > before[-1] else "of another answer"


def _said(end: str) -> str:
    return {"ended": "comes to its end", "hangs": "stays open and says nothing more", "cut": "breaks off"}.get(end, end)


def _yes(number: int) -> str:
    return "yes" if number else "no"


def times(number: int) -> str:
    """How often, in a word."""
    return {0: "never", 1: "once", 2: "twice"}.get(number, f"{number} times")


def _s(number: int) -> str:
    return "" if number == 1 else "s"

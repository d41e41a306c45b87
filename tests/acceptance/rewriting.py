"""The rules of ``chat_machine`` that take back what was said: an edit, another answer, and a thread that goes to the
trash and back.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.acceptance.clients import SLOTS, TEXTS, THREADS, WHICH, Clients, someone_sent
from tests.acceptance.ledger import has_rows, has_turn, unended
from tests.acceptance.sent import Sent

ON_BUSY = st.sampled_from([None, "stop"])


class Rewriting(Clients):
    @someone_sent
    @rule(which=WHICH, text=TEXTS, slot=SLOTS, on_busy=ON_BUSY)
    def edit(self, which: int, text: str, slot: int, on_busy: str | None) -> None:
        """A question once more: it and what followed it are current no longer, and not one row of them is lost."""
        self._revise("edits", self._sent(which), text, slot, on_busy)

    @someone_sent
    @rule(which=WHICH, slot=SLOTS, on_busy=ON_BUSY)
    def regenerate(self, which: int, slot: int, on_busy: str | None) -> None:
        """Another answer: the one there is stays current until this one is complete, and not one row of it is lost."""
        asked = self._sent(which)
        self._revise("again", asked, asked.text, slot, on_busy)

    @rule(thread=THREADS, texts=st.tuples(TEXTS, TEXTS), slots=st.tuples(SLOTS, SLOTS))
    def ask_and_edit(self, thread: int, texts: tuple[str, str], slots: tuple[int, int]) -> None:
        """While the question is answered, or behind that."""
        self._revise("edits", self._asked_now(thread, texts[0], slots[0]), texts[1], slots[1], "stop")

    @rule(thread=THREADS, text=TEXTS, slots=st.tuples(SLOTS, SLOTS))
    def ask_and_regenerate(self, thread: int, text: str, slots: tuple[int, int]) -> None:
        self._revise("again", self._asked_now(thread, text, slots[0]), text, slots[1], "stop")

    def _asked_now(self, thread: int, text: str, slot: int) -> Sent:
        """A send that stops what is busy, unless others wait for that."""
        asked = self._new(self.threads[thread], text)
        _, waiting = self._stop_asked(asked.thread)
        asked.anywhere = bool(waiting)
        self._post(asked, slot, on_busy="stop", may_refuse=bool(waiting))
        if asked.accepted:
            self.readers[-1].read(20, 0.1)
        return asked

    def _revise(self, how: str, asked: Sent, text: str, slot: int, on_busy: str | None) -> None:
        if not has_turn(asked):
            return
        revised = self._new(asked.thread, text, **{how: asked.message})
        live, waiting = self._stop_asked(asked.thread) if on_busy else unended([asked.thread])
        self._post(revised, slot, on_busy=on_busy, may_refuse=bool(waiting or (live and not on_busy)))

    @rule(thread=THREADS, slot=SLOTS)
    def delete_and_restore(self, thread: int, slot: int) -> None:
        """Nobody sees a thread in the trash or writes into it; what lived in it is stopped, and all comes back."""
        name = self.threads[thread]
        for reader in [reader for reader in self.readers if reader.sent.thread == name]:
            reader.hang_up()  # it would be shut out
            self.readers.remove(reader)
        there, quiet = has_rows(name), not self._busy(name)
        path = f"/api/threads/{name}"
        before = self._ask(slot, "GET", f"{path}/messages/?limit=200")
        self._stop_asked(name)
        deleted = self._ask(slot, "DELETE", f"{path}/").status
        self._note(f"delete {deleted}", name)
        assert deleted == (204 if there else 404)
        if not there:
            return
        assert self._ask(slot, "GET", f"{path}/messages/").status == 404
        late = self._new(name, "/tokens 3 0")
        assert self._ask(slot, "POST", "/api/chat", late.body()).status == 404
        assert not has_turn(late)
        assert self._ask(slot, "POST", f"{path}/restore/").status == 200
        after = self._ask(slot, "GET", f"{path}/messages/?limit=200")
        assert after.status == 200
        assert not quiet or after.body == before.body

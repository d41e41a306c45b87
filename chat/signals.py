"""What a host may connect to: the beginning and the end of a turn.

Sent behind the commit that made them, by the process that committed, in order, from a thread of their own: a receiver
that fails is logged, one that is slow delays only other receivers, and neither harms a turn. Receivers may use the
database, and may be ``async def``. At most once: a process that is killed tells nobody of its last commits, and one in
which 5,000 beginnings and ends wait for receivers that are too slow leaves further ones out, so what must be complete
is read from ``chat_turns``.

Both bring ``turn`` (its primary key), ``turn_id``, ``thread_id`` or ``copilot_chat_id`` (UUIDs, the other is None),
``user_id``, ``trigger`` and ``model``; the sender is the model ``Turn``. Texts of messages are not among it.
"""

from __future__ import annotations

from django.dispatch import Signal

# A turn runs: it was sent, or has waited behind another one. What goes on after an approval has begun before.
turn_started = Signal()
# A turn is over, and its answer and usage are stored; with ``status`` (completed, stopped, interrupted, failed),
# ``error_code`` and ``total_tokens``. A queued turn that is cancelled has neither begun nor ended, and one whose
# conversation is deleted for good has no end.
turn_ended = Signal()

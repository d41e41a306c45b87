"""The benchmarks count the statements of a turn, and of nobody else, in PostgreSQL's own log."""

from __future__ import annotations

from benchmarks.statements import of_turns, reads_of_the_log, told

LOG = """\
71|LOG:  statement: INSERT INTO chat_turns
\tVALUES (1)
72|LOG:  execute _pg3_1: UPDATE chat_turns t SET epoch = t.epoch + 1
\t WHERE t.id IN (SELECT id FROM chat_turns FOR UPDATE SKIP LOCKED)
72|DETAIL:  parameters: $1 = '20'
71|LOG:  statement: SELECT string_agg(e.chunks, chr(10))
\t FROM chat_stream_events e
71|LOG:  statement: DELETE FROM chat_stream_events WHERE turn_id IN (SELECT id FROM old)
"""
LATER = """\
72|LOG:  statement: SELECT thread_id FROM chat_turns WHERE status = 'queued'
71|LOG:  statement: UPDATE chat_turns SET status = 'completed'
"""


def test_the_statements_of_a_turn_are_counted_without_those_of_a_sweeper_beside_it() -> None:
    begun, ended = of_turns(told(LOG), told(LATER))
    assert begun == [
        "INSERT INTO chat_turns VALUES (1)",
        "SELECT string_agg(e.chunks, chr(10)) FROM chat_stream_events e",
        "DELETE FROM chat_stream_events WHERE turn_id IN (SELECT id FROM old)",
    ]
    assert ended == ["UPDATE chat_turns SET status = 'completed'"]
    assert reads_of_the_log(told(LOG)) == 1

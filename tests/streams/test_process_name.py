from __future__ import annotations

import subprocess
import sys

FORKS = """
import os, django
django.setup()
from chat.streams.writer import process_name
def told() -> str:
    assert process_name() == process_name()
    return process_name()
names = {told()}
for _ in range(2):
    read, write = os.pipe()
    if os.fork() == 0:
        os.write(write, told().encode())
        os._exit(0)
    os.wait()
    names.add(os.read(read, 100).decode())
assert len(names) == 3, names
"""


def test_workers_that_were_forked_after_loading_the_application_do_not_share_a_name() -> None:
    """Else each takes the other's news for its own, and readers of the other's turns wait for the next check."""
    subprocess.run([sys.executable, "-c", FORKS], check=True, timeout=60)

"""This project beside what a team would otherwise pick, on one machine in one run; writes ``docs/peers.md``::

python -m benchmarks.peers [--quick] [--peers ours,bare,node,fastapi,rakaia,chainlit] [--docs FOLDER] [--no-history]

The peers are installed from the registries into ``.data/peers`` when they are first wanted.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from benchmarks.peers import history, page
from benchmarks.peers.chainlit_server import ChainlitServer
from benchmarks.peers.fastapi_server import FastApiServer
from benchmarks.peers.findings import QUICK, Sizes, find
from benchmarks.peers.node_server import NodeServer
from benchmarks.peers.ours import Bare, Ours
from benchmarks.peers.peer import Peer
from benchmarks.peers.rakaia_server import RakaiaServer
from tests.acceptance.server import ROOT

PEERS: dict[str, type[Peer]] = {
    kind.name: kind for kind in (Ours, Bare, NodeServer, FastApiServer, RakaiaServer, ChainlitServer)
}
CHATS, QUICK_CHATS = 500, 40


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatproject.settings")
    os.environ.setdefault("DEBUG", "1")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__.partition(";")[0])
    parser.add_argument("--peers", default=",".join(PEERS), help="the first is ours (%(default)s)")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where peers.md is written (%(default)s)")
    parser.add_argument("--no-history", action="store_true", help="without the backfills")
    parser.add_argument("--quick", action="store_true", help="small numbers: that it runs, not what it finds")
    usual = Sizes()
    parser.add_argument("--rounds", type=int, default=usual.rounds, help="measurements of each load (%(default)s)")
    parser.add_argument(
        "--patience", type=float, default=usual.patience, help="seconds to wait for a quiet machine (%(default)s)"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # with the servers, not without
    begun = time.monotonic()
    sizes = QUICK if options.quick else Sizes(rounds=options.rounds, patience=options.patience)
    found = find([PEERS[name] for name in options.peers.split(",")], sizes)
    backfills = [] if options.no_history else history.find(QUICK_CHATS if options.quick else CHATS)
    run = page.Run(sizes, sys.argv[1:], time.monotonic() - begun)
    print(page.write(options.docs, run, found, backfills))


if __name__ == "__main__":
    main()

"""How a peer's process talks with the benchmark: one JSON object a line, on its first stdout.

The process is started as `python -m bench.peers.NAME --stream FILE --case CASE --limit N`. It says
`ready` with its version once everything is converted and compiled; each line `round` on stdin then
runs one round and is answered with its seconds, its messages and the touch it came to. What a
library prints goes to stderr.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from bench.stream import Stream, Touch, load


class Round(NamedTuple):
    """One timed pass over the body: its seconds, how many messages, and where the book stood."""

    seconds: float
    messages: int
    touch: Touch


Case = Callable[[Stream, int], Callable[[], Round]]
"""Takes a stream and how many messages of its body to use; prepares, and returns one round."""

clock = time.perf_counter


def serve(package: str, cases: Mapping[str, Case]) -> None:
    """Prepare the case that the command line names, then run a round for each line asked."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--stream", type=Path, required=True)
    parser.add_argument("--case", choices=sorted(cases), required=True)
    parser.add_argument("--limit", type=int, required=True)
    arguments = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def say(document: Mapping[str, object]) -> None:
        answers.write(json.dumps(document) + "\n")

    run = cases[arguments.case](load(arguments.stream), arguments.limit)
    say({"ready": arguments.case, "version": version(package)})
    for line in sys.stdin:
        if line.strip() != "round":
            break
        outcome = run()
        say(
            {
                "seconds": outcome.seconds,
                "messages": outcome.messages,
                "touch": list(outcome.touch),
            }
        )

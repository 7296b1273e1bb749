"""Run the cases of scripts inside the clients' environment.

`python -m tests.conformance.runner SCRIPT ...`: stdin holds the target as JSON; each case is
answered with one JSON line on stdout. Cases are the functions `case_*` of the module
`tests.conformance.SCRIPT`, in the order they are written; `SCRIPT:CASE` runs one. This runs where
neither pytest nor any of our packages is installed.
"""

import asyncio
import importlib
import inspect
import json
import os
import sys
import traceback
import urllib.request
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Credentials:
    """A key as a client holds it."""

    name: str
    secret: str


@dataclass(frozen=True)
class Target:
    """The venues to run against, by host:port, and the keys they know.

    In the folder `desk` the keys of the venue without TLS are where the guide says.
    """

    plain: str
    tls: str
    desk: str
    keys: dict[str, Credentials]

    def admin(self, path: str, body: object) -> Any:
        """Post to the administration of the venue without TLS."""
        request = urllib.request.Request(
            f"http://{self.plain}/admin{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return json.load(answer)


def main() -> None:
    """Run the scripts that the command line names."""
    document = json.load(sys.stdin)
    keys = {name: Credentials(**key) for name, key in document.pop("keys").items()}
    target = Target(keys=keys, **document)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a client prints is no answer
    for wanted in sys.argv[1:]:
        script, _, only = wanted.partition(":")
        module = importlib.import_module(f"tests.conformance.{script}")
        for name, case in list(vars(module).items()):
            if name.startswith("case_") and only in ("", name):
                problem = problem_of(case, target)
                line = {"script": script, "case": name, "problem": problem}
                answers.write(json.dumps(line) + "\n")


def problem_of(case: Any, target: Target) -> str:
    """Return what went wrong in a case, or "" where nothing did."""
    try:
        if inspect.iscoroutinefunction(case):
            asyncio.run(asyncio.wait_for(case(target), 60))
        else:
            case(target)
    except Exception:  # noqa: BLE001 - the test on the other side fails with it
        return traceback.format_exc()
    return ""


if __name__ == "__main__":
    main()

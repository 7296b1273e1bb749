"""The programs of docs/paper-exchange.md, as they are printed there but for the venue's address."""

import contextlib
import re
from pathlib import Path

from tests.conformance.runner import Target

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "paper-exchange.md"


def programs() -> list[str]:
    """Return the guide's programs in their order."""
    return re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)


def run(number: int, target: Target) -> None:
    """Run one of the guide's programs where its paths lead to the venue's keys."""
    program = programs()[number].replace("127.0.0.1:8090", target.plain)
    with contextlib.chdir(target.desk):
        exec(compile(program, f"{GUIDE.name}:{number}", "exec"), {"__name__": "__main__"})  # noqa: S102 - our own guide


def case_the_sdk_s_program(target: Target) -> None:
    """The SDK trades and listens as the guide shows it."""
    run(0, target)


def case_ccxt_s_program(target: Target) -> None:
    """The shortest use of ccxt."""
    run(1, target)


def case_ccxt_pro_s_program(target: Target) -> None:
    """The shortest use of ccxt.pro."""
    run(2, target)


def case_there_are_no_other_programs(_target: Target) -> None:
    """Each program of the guide is one of the cases above."""
    assert 3 == len(programs())

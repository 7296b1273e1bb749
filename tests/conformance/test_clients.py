"""Unmodified clients against the exchange as a process: one test for each case of their scripts."""

import ast

import pytest

from tests.conformance.conftest import SCRIPTS
from tests.conftest import ROOT


def cases() -> list[tuple[str, str]]:
    """Return (script, case) without importing the scripts, which need the clients."""
    found = []
    for script in SCRIPTS:
        tree = ast.parse((ROOT / "tests" / "conformance" / f"{script}.py").read_text())
        found += [
            (script, node.name)
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.name.startswith("case_")
        ]
    return found


@pytest.mark.timeout(330)
@pytest.mark.parametrize(("script", "case"), cases())
def test_the_client_is_content(
    problems: dict[tuple[str, str], str], script: str, case: str
) -> None:
    """The case ran to its end inside the client's own environment."""
    problem = problems.get((script, case), "not reached in time")
    assert not problem, problem

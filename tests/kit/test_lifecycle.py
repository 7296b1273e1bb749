"""How a service ends: one line for a fault, alone or in a group; a defect goes to the log."""

import json

import pytest

from lob.errors import ConfigError, Unavailable
from touchstone.kit.lifecycle import run_service
from touchstone.kit.logs import configure_logging


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unavailable("taken"), 1),
        (ConfigError("taken"), 2),
        (ExceptionGroup("tasks", [ExceptionGroup("one", [Unavailable("taken")])]), 1),
    ],
    ids=["fault", "configuration", "group"],
)
def test_a_fault_is_one_line(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever started it reads one line, also where the fault ended a group of tasks."""

    async def main() -> None:
        raise error

    assert code == run_service("gateway", main)
    assert "gateway: taken\n" == capsys.readouterr().err


def test_a_defect_is_a_line_of_the_log_with_its_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """JSON as all the others are, and without the secrets of its text."""

    async def main() -> None:
        configure_logging("gateway", "INFO")
        raise ExceptionGroup("tasks", [Unavailable("taken"), KeyError("token=abc-1")])

    assert 1 == run_service("gateway", main)
    line = json.loads(capsys.readouterr().err)
    assert ("defect", "critical") == (line["event"], line["level"])
    assert "KeyError" in line["exception"]
    assert "abc-1" not in line["exception"]

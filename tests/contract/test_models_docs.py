"""docs/models.md names every function there is, and its examples are true."""

import importlib
import re
from types import FunctionType

import pytest

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([A-Za-z_0-9]+)`", PAGE))
PACKAGES = {
    "Impact": "impact",
    "Queues": "queueing",
    "Queue positions": "queue_estimators",
    "Fills": "fill_probability",
    "Latency": "latency",
    "Hidden liquidity": "hidden",
    "Dark pools": "dark",
    "Market making": "market_making",
    "Hawkes": "hawkes",
}
WHOLE = ("impact", "queueing", "latency", "dark", "market_making")


def part(title: str) -> str:
    """Return the page's part below a title."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("title", PACKAGES)
def test_the_examples_of_a_family_hold(title: str) -> None:
    """Each part has one block, whose assertions are true."""
    (block,) = re.findall(r"```python\n(.*?)```", part(title), re.DOTALL)

    exec(compile(block, f"docs/models.md: {title}", "exec"), {})  # noqa: S102 - our own page


@pytest.mark.parametrize(("title", "package"), PACKAGES.items())
def test_what_a_table_names_is_there(title: str, package: str) -> None:
    """The names in the first column are public in the family's package."""
    public = set(importlib.import_module(f"lob.{package}").__all__)
    first = re.findall(r"^\| (`.*?) \|", part(title), re.MULTILINE)
    named = {name for cell in first for name in re.findall(r"`([^`]+)`", cell)}

    assert set() == named - public


@pytest.mark.parametrize("package", WHOLE)
def test_every_public_function_is_named(package: str) -> None:
    """No function of these packages is left out of the page."""
    module = importlib.import_module(f"lob.{package}")
    public = {name for name in module.__all__ if isinstance(getattr(module, name), FunctionType)}

    assert set() == public - NAMED


@pytest.mark.parametrize("package", WHOLE)
def test_every_public_function_says_what_it_is(package: str) -> None:
    """It has types on each argument and on its answer, and a docstring that begins with a verb."""
    module = importlib.import_module(f"lob.{package}")
    for name in module.__all__:
        function = getattr(module, name)
        if not isinstance(function, FunctionType):
            continue
        code = function.__code__ if not hasattr(function, "__wrapped__") else None
        arguments = set(function.__annotations__) - {"return"}
        assert "return" in function.__annotations__, name
        if code is not None:
            wanted = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            assert set(wanted) == arguments, name
        assert re.match(r"[A-Z][a-z]+ .*\.$", (function.__doc__ or "").splitlines()[0]), name

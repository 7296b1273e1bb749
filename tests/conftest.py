"""Fixtures every part of the suite shares."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def market_data() -> Path:
    """The folder of real market data, which is licensed apart and never part of the project.

    TOUCHSTONE_MARKET_DATA names it; else the folder `shared/data` beside the checkout is used.
    """
    named = os.environ.get("TOUCHSTONE_MARKET_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not (folder / "lobster").is_dir():
        pytest.skip(f"no real market data at {folder} (TOUCHSTONE_MARKET_DATA)")
    return folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make a skip a failure where TOUCHSTONE_REQUIRE_ALL is set: nothing may go missing unseen."""
    report = yield
    if report.skipped and os.environ.get("TOUCHSTONE_REQUIRE_ALL") and not _is_expected(report):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: skipped where nothing may be: {report.longrepr}"
    return report


def _is_expected(report: pytest.TestReport) -> bool:
    return bool(getattr(report, "wasxfail", ""))

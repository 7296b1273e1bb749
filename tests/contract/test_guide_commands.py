"""The deployment guide's own commands and names, word for word."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from execution_providers import AssetClass, create_execution_provider
from lob.config import L3ExecutionConfig, create_l3_config
from lob.errors import ConfigError
from touchstone.kit.logs import configure_logging


def run_python(root: Path, program: str) -> subprocess.CompletedProcess[str]:
    """Run `python -c program` from the project's root, as the guide does."""
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=root,
        env=os.environ | {"PYTHONPATH": f"{root / 'src'}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_import_check_prints_ok(root: Path) -> None:
    """The guide checks the import with one line."""
    done = run_python(
        root,
        "from execution_providers import create_execution_provider; print('OK')",
    )
    assert (0, "OK\n") == (done.returncode, done.stdout)


def test_the_config_check_passes(root: Path) -> None:
    """The guide validates the shipped configuration with one line."""
    done = run_python(
        root,
        "from lob.config import L3ExecutionConfig; "
        "L3ExecutionConfig.from_yaml('configs/execution_l3.yaml')",
    )
    assert 0 == done.returncode, done.stderr


def test_both_levels_come_from_the_factory(root: Path) -> None:
    """The guide asks for L2 and L3 by the same call."""
    config = L3ExecutionConfig.from_yaml(root / "configs/execution_l3.yaml")
    create_execution_provider(AssetClass.EQUITY, level="L2")
    create_execution_provider(AssetClass.EQUITY, level="L3")
    create_execution_provider(AssetClass.EQUITY, level="L3", config=config)


def test_the_tuning_lines_work() -> None:
    """The guide tunes memory and speed by assigning to the configuration."""
    config = create_l3_config("minimal")
    config.queue_tracking.max_tracked_orders = 5000
    config.dark_pools.max_history_size = 500
    config.latency.enabled = False
    config.dark_pools.enabled = False
    config.hidden_liquidity.enabled = False
    assert 5000 == config.queue_tracking.max_tracked_orders


def test_log_level_comes_from_the_guides_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """L3_LOG_LEVEL turns on the two loggers the guide names, and a wrong one is refused."""
    before = logging.getLogger().handlers, logging.getLogger().level
    try:
        monkeypatch.setenv("L3_LOG_LEVEL", "DEBUG")
        configure_logging("test", "INFO")
        for name in ("execution_providers_l3", "lob"):
            assert logging.DEBUG == logging.getLogger(name).level
        assert logging.INFO == logging.getLogger().level
        monkeypatch.setenv("L3_LOG_LEVEL", "LOUD")
        with pytest.raises(ConfigError, match=r"L3_LOG_LEVEL: 'LOUD'.*DEBUG"):
            configure_logging("test", "INFO")
    finally:
        logging.getLogger().handlers, level = before
        logging.getLogger().setLevel(level)
        for name in ("execution_providers_l3", "lob"):
            logging.getLogger(name).setLevel(logging.NOTSET)

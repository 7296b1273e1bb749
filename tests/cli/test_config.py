"""`touchstone config`: it finds a wrong address, and never shows a password."""

import json
import os
import subprocess
import sys
from pathlib import Path


def run(root: Path, *words: str, **environment: str) -> tuple[int, str]:
    """Run one `config` command and return its exit code and all it said."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("TOUCHSTONE_")}
    done = subprocess.run(
        [sys.executable, "-m", "touchstone.cli", "config", *words, "--json"],
        env=clean | {"TOUCHSTONE_HOME": str(root)} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_password_in_an_address_is_hidden(root: Path) -> None:
    """The rest of the address is shown."""
    code, said = run(root, "show", TOUCHSTONE_REDIS_URL="redis://:hunter2@127.0.0.1:7000/0")
    assert 0 == code
    assert "redis://:***@127.0.0.1:7000/0" == json.loads(said)["router"]["redis_url"]
    assert "hunter2" not in said


def test_an_address_that_is_none_is_a_mistake(root: Path) -> None:
    """`check` finds what every service would stumble over."""
    code, said = run(root, "check", TOUCHSTONE_REDIS_URL="foo:hunter2@bar")
    assert 2 == code
    assert "TOUCHSTONE_REDIS_URL" in json.loads(said)["problems"]["address of Redis"]


def test_every_key_of_the_l3_file_is_listed(root: Path) -> None:
    """`keys` says what a key may be and what it is by default."""
    code, said = run(root, "keys")
    found = json.loads(said)

    assert 0 == code
    assert {"allowed": "a number, above 0 to 10", "default": "0.3"} == found["latency.cv"]
    assert {"allowed": "SEQUENTIAL, PARALLEL, SMART", "default": "SEQUENTIAL"} == found[
        "dark_pools.routing"
    ]
    assert "required" == found["dark_pools.venues[].name"]["default"]

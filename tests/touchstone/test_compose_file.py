"""docker-compose.yml and the Dockerfile as text: what can be checked without an engine."""

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML


@pytest.fixture(scope="module")
def document(root: Path) -> dict[str, Any]:
    """The compose file, with its anchors resolved."""
    loaded: dict[str, Any] = YAML(typ="safe").load(root / "docker-compose.yml")
    return loaded


def test_every_port_names_loopback(document: dict[str, Any]) -> None:
    """A port without an address would be open to the network."""
    ports = [port for service in document["services"].values() for port in service["ports"]]
    assert [] == [port for port in ports if not port.startswith("127.0.0.1:${")]
    assert 11 == len(ports)


def test_every_service_is_hardened_restarted_and_watched(document: dict[str, Any]) -> None:
    """No service is left out of what all of them share."""
    for name, service in document["services"].items():
        assert "unless-stopped" == service["restart"], name
        assert service["read_only"], name
        assert ["ALL"] == service["cap_drop"], name
        assert ["no-new-privileges:true"] == service["security_opt"], name
        assert service["healthcheck"]["test"], name
        assert service["mem_limit"], name
        assert service["cpus"] <= 1.0, name


def test_volume_names_have_more_than_one_letter(document: dict[str, Any]) -> None:
    """Compose v2 takes a one-letter name for a drive."""
    assert all(len(name) > 1 for name in document["volumes"])


def test_the_example_environment_lists_every_variable_with_its_default(root: Path) -> None:
    """Copying `.env.example` to `.env` changes nothing, and nothing can be set unseen."""
    text = (root / "docker-compose.yml").read_text()
    lines = (root / ".env.example").read_text().splitlines()
    listed = dict(line.split("=", 1) for line in lines if re.match(r"[A-Z0-9_]+=", line))
    assert dict(re.findall(r"\$\{([A-Z0-9_]+):-([^}]*)\}", text)) == listed
    # Passed on by name alone: setting it at all means something.
    assert "#USE_L3_SIMULATOR=false" in lines
    assert "      USE_L3_SIMULATOR:\n" in text


def test_the_dockerfile_needs_no_builder_extensions(root: Path) -> None:
    """No `# syntax=` line and no mounts, so that the legacy builder builds it as well."""
    text = (root / "Dockerfile").read_text()
    assert not re.search(r"^# *syntax *=", text, re.MULTILINE)
    assert "--mount" not in text
    assert re.search(r"^USER touchstone$", text, re.MULTILINE)


def test_the_build_lock_holds_the_backend_that_the_project_names(root: Path) -> None:
    """The image builds the distribution with the locked version of the declared backend."""
    requires = re.search(
        r'^requires = \["([\w-]+)', (root / "pyproject.toml").read_text(), re.MULTILINE
    )
    assert requires is not None
    assert f"\n{requires[1]}==" in (root / "requirements-build.lock").read_text()

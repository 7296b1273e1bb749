"""Settings refuse what they do not know, in one line that helps."""

import pytest
from pydantic import Field

from lob.config.document import ENVIRONMENT_PREFIX
from lob.errors import ConfigError
from touchstone.kit.settings import (
    L3_PREFIX,
    ServiceSettings,
    load,
    service_config,
    without_password,
)


class RouterLike(ServiceSettings):
    """Settings with the router's prefix."""

    model_config = service_config("TOUCHSTONE_ROUTER_")
    port: int = Field(default=8000, ge=0, le=65535)


def test_defaults_listen_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any environment a service is reachable from this machine only."""
    monkeypatch.delenv("TOUCHSTONE_ROUTER_PORT", raising=False)
    settings = load(RouterLike)
    assert ("127.0.0.1", 8000) == (settings.host, settings.port)


def test_environment_overrides_own_and_shared_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prefixed name and a shared one are both read."""
    monkeypatch.setenv("TOUCHSTONE_ROUTER_PORT", "8123")
    monkeypatch.setenv("TOUCHSTONE_REDIS_URL", "redis://127.0.0.1:7000/0")
    settings = load(RouterLike)
    assert (8123, "redis://127.0.0.1:7000/0") == (settings.port, settings.redis_url)


def test_a_misspelt_name_is_refused_with_the_nearest_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A typo must not leave a limit at its default unseen."""
    monkeypatch.setenv("TOUCHSTONE_ROUTER_PROT", "8123")
    with pytest.raises(ConfigError, match=r"TOUCHSTONE_ROUTER_PROT.*did you mean.*ROUTER_PORT"):
        load(RouterLike)


def test_names_of_other_services_are_theirs_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """One environment serves all services."""
    monkeypatch.setenv("TOUCHSTONE_GATEWAY_PORT", "9999")
    assert load(RouterLike).port == 8000


def test_keys_of_the_l3_file_are_checked_where_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """`TOUCHSTONE_L3__*` is for the simulator's file, and stops no other service."""
    monkeypatch.setenv("TOUCHSTONE_L3__LATENCY__CV", "0.4")
    assert load(RouterLike).port == 8000
    assert ENVIRONMENT_PREFIX == L3_PREFIX


def test_a_secret_that_is_wrong_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line goes to logs and terminals: it names the variable and the reason only."""

    class WithToken(RouterLike):
        api_token: str = Field(default="0123456789", min_length=10)

    monkeypatch.setenv("TOUCHSTONE_ROUTER_API_TOKEN", "abc-1")
    with pytest.raises(ConfigError, match=r"API_TOKEN: \[hidden\]: .* 10 ") as caught:
        load(WithToken)
    assert "abc-1" not in str(caught.value)


def test_a_wrong_value_names_variable_value_and_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line tells what to change."""
    monkeypatch.setenv("TOUCHSTONE_ROUTER_PORT", "eighty")
    with pytest.raises(ConfigError) as caught:
        load(RouterLike)
    text = str(caught.value)
    assert "TOUCHSTONE_ROUTER_PORT" in text
    assert "'eighty'" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://:secret@127.0.0.1/0", "redis://:***@127.0.0.1/0"),
        ("rediss://bo:se@cr:et@host:1/0", "rediss://bo:***@host:1/0"),
        ("redis://host/0?password=secret&db=1", "redis://host/0?password=***&db=1"),
    ],
)
def test_a_password_in_an_address_is_never_shown(url: str, expected: str) -> None:
    """Errors and `config show` print addresses; the password stays out."""
    assert expected == without_password(url)

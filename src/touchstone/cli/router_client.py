"""How commands ask the router: its address, its answers, and its refusals as faults."""

import getpass
import os
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from lob.errors import (
    Conflict,
    Fault,
    InvalidInput,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from touchstone.cli.ports import LOOPBACK
from touchstone.cli.status import ports_of
from touchstone.cli.up import data_dir_or_default

TIMEOUT_SECONDS = 5.0
CREDENTIAL_VARIABLE = "TOUCHSTONE_ROUTER_API_TOKEN"
CREDENTIALS = {"router": CREDENTIAL_VARIABLE, "gateway": "TOUCHSTONE_GATEWAY_API_TOKEN"}

UrlOption = Annotated[
    str | None, typer.Option("--url", help="The router's address; else that of the local stack.")
]


def base_of(url: str | None, data_dir: Path | None, service: str = "router") -> str:
    """Return the service's address: the one that is named, else that of the local stack."""
    if url is not None:
        return url.rstrip("/")
    ports = ports_of(data_dir_or_default(data_dir))
    return f"http://{LOOPBACK}:{ports.order_gateway if service == 'gateway' else ports.router}"


def call(
    method: str,
    base: str,
    path: str = "",
    *,
    root: str = "/v1/rollout",
    timeout: float = TIMEOUT_SECONDS,
    service: str = "router",
    **options: Any,
) -> dict[str, Any]:
    """Return the router's answer, or another `service`'s; its refusals as faults alike.

    The token in the environment goes along, where there is one.

    Raises:
        Unavailable: no such service answers at `base`.
        Fault: it refused; the text is its own.
    """
    token = os.environ.get(CREDENTIALS[service])
    bearer = {"Authorization": f"Bearer {token}"} if token else {}
    headers = {**options.pop("headers", {}), **bearer}
    try:
        response = httpx.request(
            method,
            f"{base}{root}{path}",
            timeout=timeout,
            trust_env=False,
            headers=headers,
            **options,
        )
        body = response.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise Unavailable(
            f"no answer from the {service} at {base} ({str(error) or type(error).__name__})"
        ) from None
    if not isinstance(body, dict):
        raise Unavailable(f"{base} does not answer like a {service}")
    if response.is_success:
        return body
    message = body.get("error", {}).get("message", f"HTTP status {response.status_code}")
    raise _FAULTS.get(response.status_code, Unavailable)(message)


_FAULTS: dict[int, type[Fault]] = {
    400: InvalidInput,
    401: Unauthenticated,
    403: PermissionDenied,
    404: NotFound,
    409: Conflict,
}


def actor() -> str:
    """Return who runs this, for the audit."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"

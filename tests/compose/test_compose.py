"""docker-compose.yml on a real engine: start, work, survive a kill and a restart, stop."""

import math
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from grafana.boards.gateway import ORDER_SUCCESS_SQL
from grafana.generate import build
from tests.compose.harness import (
    OURS,
    SERVICES,
    TOKEN,
    ComposeStack,
    docker,
    eventually,
    free_row,
    why_no_engine,
)

pytestmark = [pytest.mark.compose, pytest.mark.timeout(300)]

COMMANDS = {"v2": ("docker", "compose"), "v1": ("docker-compose",)}
IMAGE_TAG = f"test-{os.getpid()}"

EXECUTION: dict[str, Any] = {
    "order": {"symbol": "AAPL", "side": "BUY", "quantity": "100", "type": "MARKET"},
    "market": {
        "timestamp_ms": 1_700_000_000_000,
        "bids": [["100.00", "500"], ["99.99", "800"]],
        "asks": [["100.02", "300"], ["100.03", "800"]],
        "last_price": "100.01",
    },
    "bar": {
        "open": "100",
        "high": "100.5",
        "low": "99.5",
        "close": "100.01",
        "volume": "100000",
        "duration_ms": 60_000,
    },
    "asset_class": "EQUITY",
}
PERPS_ORDER = {"symbol": "BTC-PERP", "side": "BUY", "quantity": "0.01", "type": "MARKET"}


def command_of(version: str) -> tuple[str, ...]:
    """Return the compose command, or skip where it is not installed."""
    command = COMMANDS[version]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return command


@pytest.fixture(scope="module")
def report(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Write a line of progress to the terminal."""
    terminal = request.config.pluginmanager.getplugin("terminalreporter")
    started = time.monotonic()

    def write(line: str) -> None:
        if terminal is not None:
            terminal.write_line(f"  [{time.monotonic() - started:5.1f} s] {line}")

    return write


@pytest.fixture(scope="module")
def engine() -> None:
    """Skip where no container engine answers."""
    why = why_no_engine()
    if why:
        pytest.skip(why)


@pytest.fixture(scope="module")
def image(engine: None) -> Iterator[str]:
    """A tag of our image that is this run's own, removed at the end."""
    yield IMAGE_TAG
    if docker("images", "-q", f"touchstone:{IMAGE_TAG}").strip():
        docker("image", "rm", f"touchstone:{IMAGE_TAG}")


@pytest.fixture(scope="module")
def stack(root: Path, image: str, report: Callable[[str], None]) -> Iterator[ComposeStack]:
    """The whole stack, built and healthy; its volumes go with it."""
    stack = ComposeStack(root, f"touchstone-{image}", image, command_of("v2"), report)
    try:
        stack.up("--build")
        yield stack
    finally:
        stack.down("-v")


@pytest.mark.parametrize("version", COMMANDS)
def test_both_compose_versions_accept_the_file(root: Path, version: str) -> None:
    """`config` prints no warning and exits with 0."""
    result = subprocess.run(  # noqa: PLW1510 - the exit code is asserted
        [*command_of(version), "config", "--quiet"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (0, "", "") == (result.returncode, result.stdout, result.stderr)


def test_observability_can_be_left_out(root: Path) -> None:
    """With the second file it is a profile: off unless asked for; the rest stays as it is."""
    files = ("-f", "docker-compose.yml", "-f", "docker-compose.core.yml")
    observing = {"prometheus", "alertmanager", "grafana"}

    def said(version: str, *options: str) -> set[str]:
        command = [*command_of(version), *options]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
        return set(done.stdout.split())

    names = ("config", "--services")
    assert set(SERVICES) == said("v2", *names)
    assert set(SERVICES) - observing == said("v2", *files, *names)
    assert set(SERVICES) == said("v2", *files, "--profile", "observability", *names)
    # The older program lists services of all profiles; it takes the two files as well.
    assert set() == said("v1", *files, "config", "--quiet")


def test_every_port_is_published_on_loopback_only(stack: ComposeStack) -> None:
    """The engine itself says where it listens."""
    published = {
        (service, binding["HostIp"])
        for service in SERVICES
        for bindings in stack.container(service)["NetworkSettings"]["Ports"].values()
        for binding in bindings or ()
    }
    assert {(service, "127.0.0.1") for service in SERVICES} == published


@pytest.mark.parametrize("service", SERVICES)
def test_containers_run_with_no_more_than_they_need(stack: ComposeStack, service: str) -> None:
    """Not root, no capability, no new privileges, a root file system that cannot be written."""
    status = dict(
        line.split(":\t", 1)
        for line in stack.inside(service, "cat", "/proc/1/status").splitlines()
        if ":\t" in line
    )
    assert "0" not in status["Uid"].split()
    assert 0 == int(status["CapEff"], 16)
    assert "1" == status["NoNewPrivs"]
    host = stack.container(service)["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["Memory"] > 0
    assert host["NanoCpus"] > 0
    assert "unless-stopped" == host["RestartPolicy"]["Name"]


def test_the_image_holds_no_compiler_and_no_password(stack: ComposeStack) -> None:
    """Secrets come at run time, and what built the image stayed behind."""
    script = "for t in gcc g++ cc make; do command -v $t && exit 1; done; exit 0"
    assert "" == stack.inside("router", "sh", "-c", script)
    baked = docker("image", "inspect", f"touchstone:{stack.image_tag}")
    for word in ("PASSWORD", "TOKEN", "DATABASE_URL"):
        assert word not in baked


def test_an_execution_is_answered_by_l2_and_mirrored_by_l3(stack: ComposeStack) -> None:
    """The shipped configuration is the shadow phase: router, Redis, simulator and back."""
    answer = stack.call("POST", "router", "/v1/executions", EXECUTION)
    assert 200 == answer.status_code, answer.text
    assert ("L2", "shadow") == tuple(answer.json()["decision"][key] for key in ("arm", "rule"))
    assert "FILLED" == answer.json()["fill"]["status"]
    eventually(
        "a shadow pair",
        lambda: samples(stack, "router").get("shadow_pairs_total", 0) >= 1,
    )


def test_the_gateway_asks_callers_from_outside_its_container_for_the_token(
    stack: ComposeStack,
) -> None:
    """A call through the published port is no loopback call for the gateway."""
    assert 403 == stack.call("POST", "order-gateway", "/v1/orders", PERPS_ORDER).status_code
    wrong = stack.call("POST", "order-gateway", "/v1/orders", PERPS_ORDER, token="wrong" * 4)
    assert wrong.status_code in {401, 403}


def test_a_perps_order_is_filled_and_stored(stack: ComposeStack) -> None:
    """Gateway, paper exchange and PostgreSQL work together from the first start."""
    now = stack.call("GET", "order-gateway", "/v1/kill-switch").json()
    assert "ACTIVE" == now["state"]
    placed = stack.call("POST", "order-gateway", "/v1/orders", PERPS_ORDER, token=TOKEN)
    assert placed.is_success, placed.text
    identifier = placed.json()["order"]["client_order_id"]
    eventually(
        "the fill",
        lambda: (
            "filled"
            == stack.call("GET", "order-gateway", f"/v1/orders/{identifier}").json()["order"][
                "status"
            ]
        ),
    )
    stored = sql(stack, "SELECT client_order_id, status FROM orders").splitlines()
    assert f"{identifier}|filled" in stored


def test_the_dashboards_role_reads_and_cannot_write(stack: ComposeStack) -> None:
    """Every SQL panel works for the role that Grafana uses, which changes nothing."""
    for document in build().values():
        for panel in document["panels"]:
            for target in panel.get("targets", ()):
                if "rawSql" in target:
                    sql(stack, target["rawSql"])
    assert sql(stack, ORDER_SUCCESS_SQL).strip()
    with pytest.raises(AssertionError, match=r"read-only transaction|permission denied"):
        sql(stack, "CREATE TABLE mine (i int)")


def test_prometheus_scrapes_everything_and_every_rule_evaluates(stack: ComposeStack) -> None:
    """All targets are up, all rules are healthy, and the Watchdog reaches Alertmanager."""
    ours = {"router", "simulator", "order_gateway", "watchdog", "paper_exchange"}
    jobs = ours | {"prometheus", "alertmanager"}

    def all_up() -> bool:
        targets = prometheus(stack, "targets")["activeTargets"]
        return jobs == {t["labels"]["job"] for t in targets if t["health"] == "up"}

    def all_evaluated() -> bool:
        groups = prometheus(stack, "rules")["groups"]
        return {"ok"} == {rule["health"] for group in groups for rule in group["rules"]}

    def watchdog() -> bool:
        alerts = stack.call("GET", "alertmanager", "/api/v2/alerts").json()
        return "Watchdog" in {alert["labels"]["alertname"] for alert in alerts}

    eventually("all targets up", all_up)
    eventually("all rules evaluated", all_evaluated)
    eventually("the Watchdog in Alertmanager", watchdog)


def test_every_panel_of_the_home_page_shows_data(stack: ComposeStack) -> None:
    """Each figure of the home page is there under a little traffic; only the alerts may be none."""
    assert 200 == stack.call("GET", "grafana", "/api/health").status_code
    expressions = {
        target["expr"]: panel["title"]
        for panel in build()["overview.json"]["panels"]
        for target in panel.get("targets", ())
        if "expr" in target and "that fire" not in panel["title"]
    }

    def empty() -> dict[str, str]:
        for number in range(20):
            side = "BUY" if number % 2 else "SELL"
            body = execution(side=side, client_order_id=f"p{number}")
            assert 200 == stack.call("POST", "router", "/v1/executions", body).status_code
        stack.call("POST", "order-gateway", "/v1/orders", PERPS_ORDER, token=TOKEN)
        return {e: title for e, title in expressions.items() if not shows_data(stack, e)}

    deadline = time.monotonic() + 60
    while (missing := empty()) and time.monotonic() < deadline:
        time.sleep(1)
    assert {} == missing


def test_a_killed_simulator_is_missed_by_nobody_and_comes_back(stack: ComposeStack) -> None:
    """`kill -9` of its process: the router goes on with L2, the restart policy brings it back."""
    before = stack.container("simulator")
    kill_hard(stack, before)
    answer = stack.call("POST", "router", "/v1/executions", EXECUTION)
    assert (200, "L2") == (answer.status_code, answer.json()["decision"]["arm"])
    eventually(
        "the restart",
        lambda: stack.container("simulator")["RestartCount"] > before["RestartCount"],
    )
    stack.wait_healthy(["simulator"])
    pairs = samples(stack, "router")["shadow_pairs_total"]
    assert 200 == stack.call("POST", "router", "/v1/executions", EXECUTION).status_code
    eventually(
        "a shadow pair with the new simulator",
        lambda: samples(stack, "router")["shadow_pairs_total"] > pairs,
    )


def test_two_simulators_are_watched_and_one_is_enough(stack: ComposeStack) -> None:
    """Scaled to two, both are scraped; with either one killed L3 goes on."""
    row = free_row(4)
    # Each container takes one port of each range.
    ranges = {
        "TOUCHSTONE_SIMULATOR_PORT": f"{row[0]}-{row[1]}",
        "TOUCHSTONE_SIMULATOR_METRICS_PORT": f"{row[2]}-{row[3]}",
    }
    stack.compose("up", "-d", "--no-deps", "--scale", "simulator=2", "simulator", **ranges)
    try:
        watched_and_missed_by_nobody(stack)
    finally:
        # As it was, whatever happened: the tests after this one count on a single simulator.
        stack.compose("up", "-d", "--no-deps", "--scale", "simulator=1", "simulator")
    stack.wait_healthy(["simulator"])


def watched_and_missed_by_nobody(stack: ComposeStack) -> None:
    """Assert that both simulators are scraped, and that L3 goes on with either one killed."""

    def scraped() -> bool:
        targets = prometheus(stack, "targets")["activeTargets"]
        up = [t for t in targets if t["labels"]["job"] == "simulator" and t["health"] == "up"]
        return len(up) == 2

    eventually("two simulators scraped", scraped)
    for simulator in stack.containers("simulator"):
        kill_hard(stack, simulator)
        pairs = samples(stack, "router")["shadow_pairs_total"]

        def mirrored(before: float = pairs) -> bool:
            answer = stack.call("POST", "router", "/v1/executions", EXECUTION)
            assert 200 == answer.status_code
            return samples(stack, "router")["shadow_pairs_total"] > before

        eventually("a shadow pair by the other one", mirrored)


def test_the_control_state_outlives_the_containers(stack: ComposeStack) -> None:
    """`down` and `up` keep Redis' volume: the kill state stands, and nothing re-arms itself."""
    body = {"state": "HALTED", "reason": "to be remembered"}
    halted = stack.call("POST", "order-gateway", "/v1/kill-switch", body, token=TOKEN)
    assert (200, True) == (halted.status_code, halted.json()["persisted"])
    stack.compose("stop", "--timeout", "15", *OURS)
    codes = {service: stack.container(service)["State"]["ExitCode"] for service in OURS}
    assert dict.fromkeys(OURS, 0) == codes
    stack.down()
    stack.up()
    found = stack.call("GET", "order-gateway", "/v1/kill-switch").json()
    assert ("HALTED", halted.json()["generation"]) == (found["state"], found["generation"])
    refused = stack.call("POST", "order-gateway", "/v1/orders", PERPS_ORDER, token=TOKEN)
    assert refused.status_code in {409, 503}
    assert "HALTED" in refused.text


def test_docker_compose_1_29_starts_it_too(
    root: Path,
    image: str,
    stack: ComposeStack,
    report: Callable[[str], None],
) -> None:
    """The older program brings the same file up under another project; `down -v` leaves nothing."""
    older = ComposeStack(root, f"touchstone-v1-{image}", image, command_of("v1"), report)
    # One stack at a time: two of them want more memory than a small machine has.
    stack.compose("stop", "--timeout", "5")
    try:
        older.up()
        answer = older.call("POST", "router", "/v1/executions", EXECUTION)
        assert 200 == answer.status_code, answer.text
        assert left_of(older.project)
    finally:
        older.down("-v")
    assert [] == left_of(older.project)


def left_of(project: str) -> list[str]:
    """Return the containers, volumes and networks of a project that are there."""
    label = f"label=com.docker.compose.project={project}"
    return [
        *docker("ps", "-aq", "--filter", label).split(),
        *docker("volume", "ls", "-q", "--filter", label).split(),
        *docker("network", "ls", "-q", "--filter", label).split(),
    ]


def kill_hard(stack: ComposeStack, container: dict[str, Any]) -> None:
    """End a container's process by SIGKILL, as the kernel would, so that it is restarted."""
    kill = "import os, sys; os.kill(int(sys.argv[1]), 9)"
    docker(
        *("run", "--rm", "--pid=host", "--user=0", "--network=none", "--entrypoint=python"),
        *(f"touchstone:{stack.image_tag}", "-c", kill, str(container["State"]["Pid"])),
    )


def execution(**order: str) -> dict[str, Any]:
    """Return an execution request with other fields in its order."""
    return {**EXECUTION, "order": {**EXECUTION["order"], **order}}


def samples(stack: ComposeStack, service: str) -> dict[str, float]:
    """Return the unlabelled samples of a service's own /metrics."""
    lines = stack.call("GET", service, "/metrics").text.splitlines()
    pairs = (line.split() for line in lines if line and not line.startswith("#"))
    return {pair[0]: float(pair[1]) for pair in pairs if len(pair) == 2 and "{" not in pair[0]}


def prometheus(stack: ComposeStack, path: str, **params: str) -> dict[str, Any]:
    """Return the data of one call of Prometheus' API."""
    answer = stack.call("GET", "prometheus", f"/api/v1/{path}", params=params)
    assert 200 == answer.status_code, answer.text
    document: dict[str, Any] = answer.json()["data"]
    return document


def shows_data(stack: ComposeStack, expression: str) -> bool:
    """Return whether an expression gives a series that is not NaN."""
    query = expression.replace("$__rate_interval", "1m")
    result = prometheus(stack, "query", query=query)["result"]
    return any(not math.isnan(float(series["value"][1])) for series in result)


def sql(stack: ComposeStack, statement: str) -> str:
    """Run a statement as the role of the dashboards, over TCP and with its password."""
    command = "psql --host=127.0.0.1 --username=dashboards --dbname=touchstone -tA -c"
    password = "compose-test-dashboards"
    return stack.inside("postgres", *command.split(), statement, PGPASSWORD=password)

"""What the services export: few series, `symbol` on counters only, accuracy where it is needed."""

from tests.fakes.families import exported_samples

SERIES_MAX = 1_800
"""Of all services together before any traffic; traffic adds symbols to counters, boundedly."""
BUCKETS_MAX = 20
UNBOUNDED = frozenset({"client_order_id", "order_id", "account", "trade_id", "request_id", "path"})


def test_symbol_is_a_label_of_counters_only() -> None:
    """A histogram or a gauge for each symbol would be a series for each, many times over."""
    found = {name for name, labels in exported_samples() if "symbol" in dict(labels)}
    assert {"gateway_orders_total", "l3_executions_total"} == found


def test_no_label_has_a_value_for_each_order() -> None:
    """Nothing that a caller makes up is a label."""
    names = {label for _, labels in exported_samples() for label, _ in labels}
    assert set() == names & UNBOUNDED


def test_there_are_few_series() -> None:
    """All children that exist from the start, of all services, and the edges of each histogram."""
    samples = exported_samples()
    assert len(samples) < SERIES_MAX
    edges: dict[str, set[str]] = {}
    for name, labels in samples:
        if name.endswith("_bucket"):
            edges.setdefault(name, set()).add(dict(labels)["le"])
    assert {} == {name: len(found) for name, found in edges.items() if len(found) > BUCKETS_MAX}


def test_every_service_says_which_build_it_is() -> None:
    """`touchstone_build_info` names service, version and Python."""
    builds = [
        dict(labels) for name, labels in exported_samples() if name == "touchstone_build_info"
    ]
    assert {"router", "simulator", "order_gateway", "watchdog", "paper_exchange"} == {
        build["service"] for build in builds
    }
    assert all(build["version"] and build["python"] for build in builds)


def test_the_root_mean_square_can_be_had_of_every_signed_histogram() -> None:
    """A histogram that starts below zero has no sum: squares and signed sums are apart."""
    names = {name for name, _ in exported_samples()}
    edges = {
        name: min(
            float(dict(labels)["le"]) for other, labels in exported_samples() if other == name
        )
        for name in names
        if name.endswith("_bucket")
    }
    signed = {name.removesuffix("_bucket") for name, least in edges.items() if least < 0}
    assert {"exec_slippage_bps", "gateway_slippage_bps", "l3_slippage_bps"} <= signed
    for name in signed:
        assert f"{name}_sum" not in names
        assert {f"{name}_square_total", f"{name}_squared_total"} & names, name

"""Faults on demand: what each kind does to REST and to the feed, and that a seed repeats it."""

import http.client
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect
from websockets.sync.connection import Connection

from lob.errors import InvalidInput, NotFound
from services.paper_exchange.connection import Connection as Client
from services.paper_exchange.faults import FaultBook, FaultKind, FaultRule
from services.paper_exchange.faults_feed import FeedFaults
from services.paper_exchange.feed_events import Message
from tests.services.paper_exchange import (
    API,
    BIP,
    RunningExchange,
    gtc,
    running_exchange,
    wait_until,
)

ORDERS = f"{API}/orders"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningExchange]:
    """A quiet venue without flow."""
    with running_exchange(
        tmp_path_factory.mktemp("exchange"), rate_limit_per_second=10_000, flow="none"
    ) as running:
        yield running


@pytest.fixture
def venue(served: RunningExchange) -> Iterator[RunningExchange]:
    """The quiet venue, without faults before and after the test."""
    yield served
    served.client.delete(admin(served)).raise_for_status()


def admin(venue: RunningExchange) -> str:
    """Return where faults are administered."""
    return f"http://{venue.host}/admin/faults"


def fault(venue: RunningExchange, **asked: Any) -> int:
    """Put a fault in force and return its number."""
    answer = venue.client.post(admin(venue), json=asked)
    assert 200 == answer.status_code, answer.text
    number: int = answer.json()["fault"]["id"]
    return number


def open_orders(venue: RunningExchange) -> int:
    """Return how many orders are open."""
    return len(venue.call("GET", "/orders/historical/batch?order_status=OPEN").json()["orders"])


def order(client_order_id: str) -> dict[str, Any]:
    """Return the body of an order that rests."""
    return {
        "client_order_id": client_order_id,
        "product_id": BIP,
        "side": "BUY",
        "order_configuration": gtc("1", "50000"),
    }


@pytest.mark.parametrize(
    ("kind", "when", "created"),
    [
        ("disconnect", "before", 0),
        ("disconnect", "after", 1),
        ("time_out", "before", 0),
        ("time_out", "after", 1),
        ("drop", "before", 0),
        ("partial", "before", 1),
    ],
)
def test_an_answer_that_never_comes_says_nothing_of_the_order(
    venue: RunningExchange, kind: str, when: str, created: int
) -> None:
    """The client sees no answer; whether the order exists depends on when it happened."""
    already = open_orders(venue)
    fault(venue, on="rest", kind=kind, when=when, path=ORDERS, count=1)
    url, body = f"http://{venue.host}{ORDERS}", order(f"{kind}-{when}")
    signed = {"Authorization": f"Bearer {venue.key.token(f'POST {venue.host}{ORDERS}')}"}
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError, httpx.ReadTimeout)):
        httpx.post(url, json=body, headers=signed, timeout=0.3)
    assert already + created == open_orders(venue)
    answer = venue.call("POST", "/orders", body).json()
    assert answer["success"]
    assert already + 1 == open_orders(venue)


@pytest.mark.parametrize(
    ("asked", "status", "text"),
    [
        ({"kind": "error", "status": 429}, 429, '"id":"rate_limit_exceeded"'),
        ({"kind": "error", "status": 429, "html": True}, 429, "<html>"),
        ({"kind": "error", "status": 502}, 502, '"error":"INTERNAL"'),
        ({"kind": "maintenance"}, 503, "scheduled maintenance"),
    ],
)
def test_errors_are_answered_in_the_venue_s_words(
    venue: RunningExchange, asked: dict[str, Any], status: int, text: str
) -> None:
    """An error strikes as often as its count says, and the request is not carried out."""
    already = open_orders(venue)
    number = fault(venue, on="rest", method="POST", path=f"{API}/ord*", count=2, **asked)
    answers = [venue.call("POST", "/orders", order(f"error-{number}-{n}")) for n in range(3)]
    assert [status, status, 200] == [answer.status_code for answer in answers]
    assert text in answers[0].text.replace(" ", "").replace("scheduledm", "scheduled m")
    assert already + 1 == open_orders(venue)
    (listed,) = venue.client.get(admin(venue)).json()["faults"]
    assert (2, 2, True) == (listed["matched"], listed["struck"], listed["over"])


def test_an_error_after_acceptance_hides_an_order_that_exists(venue: RunningExchange) -> None:
    """A 5xx that comes after the order was taken is the case a client has to look up."""
    already = open_orders(venue)
    fault(venue, on="rest", kind="error", when="after", path=ORDERS, status=504, count=1)
    assert 504 == venue.call("POST", "/orders", order("hidden")).status_code
    assert already + 1 == open_orders(venue)


def test_a_duplicated_request_is_carried_out_twice(venue: RunningExchange) -> None:
    """The second cancel of a duplicated request finds the order cancelled."""
    created = venue.create()["success_response"]["order_id"]
    fault(venue, on="rest", kind="duplicate", path=f"{ORDERS}/batch_cancel", count=1)
    (result,) = venue.call("POST", "/orders/batch_cancel", {"order_ids": [created]}).json()[
        "results"
    ]
    assert (False, "DUPLICATE_CANCEL_REQUEST") == (result["success"], result["failure_reason"])


def test_a_delay_and_a_reordering_end(venue: RunningExchange) -> None:
    """Held requests are carried out after their delay, at the latest."""
    fault(venue, on="rest", kind="delay", when="after", path=ORDERS, delay_ms=50, count=1)
    fault(venue, on="rest", kind="reorder", path=ORDERS, delay_ms=50, count=1)
    for name in ("late", "swapped"):
        answer = venue.call("POST", "/orders", order(name))
        assert answer.elapsed.total_seconds() >= 0.05
        assert answer.json()["success"]


def test_a_reordered_request_lets_the_next_one_pass(venue: RunningExchange) -> None:
    """The second of two orders is the older one."""
    number = fault(venue, on="rest", kind="reorder", path=ORDERS, delay_ms=10_000, count=1)
    faults = venue.components.faults
    with ThreadPoolExecutor(1) as other:
        held = other.submit(venue.call, "POST", "/orders", order("first"))
        wait_until(lambda: [1] == [f.struck for f in faults.listed() if f.number == number])
        assert not held.done()
        assert venue.call("POST", "/orders", order("second")).json()["success"]
        assert held.result(5).json()["success"]
    listed = venue.call("GET", "/orders/historical/batch?limit=2").json()["orders"]
    assert ["first", "second"] == [row["client_order_id"] for row in listed]


def test_a_request_whose_body_is_on_its_way_is_passed_as_well(venue: RunningExchange) -> None:
    """It is held from its first line on, not only once all of it is there."""
    number = fault(venue, on="rest", kind="reorder", path=ORDERS, delay_ms=20_000, count=1)
    faults = venue.components.faults
    body = json.dumps(order("slow")).encode()
    connection = http.client.HTTPConnection(venue.host, timeout=10)
    connection.putrequest("POST", ORDERS)
    connection.putheader("Authorization", f"Bearer {venue.key.token(f'POST {venue.host}{ORDERS}')}")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    wait_until(lambda: [1] == [f.struck for f in faults.listed() if f.number == number])
    assert venue.call("POST", "/orders", order("quick")).json()["success"]
    connection.send(body)
    assert json.loads(connection.getresponse().read())["success"]
    connection.close()
    assert 0 == faults.rest_held


def test_a_fault_of_another_account_strikes_nobody_else(venue: RunningExchange) -> None:
    """The account is that of the key which the request names."""
    fault(venue, on="rest", kind="error", account="somebody-else")
    assert 200 == venue.call("GET", "/orders/historical/fills").status_code
    fault(venue, on="rest", kind="error", account="default")
    assert 503 == venue.call("GET", "/orders/historical/fills").status_code
    assert 200 == venue.client.get(f"http://{venue.host}/readyz").status_code


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"on": "rest", "kind": "sequence_gap"}, "kind: sequence_gap; allowed on rest"),
        ({"on": "feed", "kind": "partial"}, "kind: partial; allowed on feed"),
        ({"on": "feed", "kind": "drop", "path": "/x"}, "path: not on feed"),
        ({"on": "rest", "kind": "drop", "channel": "level2"}, "channel: not on rest"),
        ({"on": "rest", "kind": "error", "status": 404}, "status: 404; allowed: 429, 500..599"),
        ({"on": "rest", "kind": "drop", "probability": 2}, "probability: 2.0; allowed: 0..1"),
        ({"on": "rest", "kind": "drop", "count": 0}, "count: 0; allowed: 1.."),
        ({"on": "rest", "kind": "drop", "paht": "/x"}, 'unknown field "paht"'),
        ({"on": "rest", "kind": "explode"}, "explode"),
    ],
)
def test_a_fault_that_cannot_be_is_refused(
    venue: RunningExchange, asked: dict[str, Any], message: str
) -> None:
    """The refusal names the field and what is allowed; nothing is put in force."""
    answer = venue.client.post(admin(venue), json=asked)
    assert 400 == answer.status_code
    assert message in answer.text.replace('\\"', '"')
    assert [] == venue.client.get(admin(venue)).json()["faults"]


def test_faults_are_for_local_callers_only(venue: RunningExchange) -> None:
    """A web page may not put faults in force."""
    answer = venue.client.post(
        admin(venue), json={"on": "rest", "kind": "drop"}, headers={"Origin": "http://x"}
    )
    assert 403 == answer.status_code


def test_one_fault_can_be_ended(venue: RunningExchange) -> None:
    """Ending one leaves the others; ending what is not in force is 404."""
    first, second = (fault(venue, on="rest", kind="error", path=f"/{n}") for n in "ab")
    assert {"cleared": 1} == venue.client.delete(f"{admin(venue)}/{first}").json()
    assert [second] == [row["id"] for row in venue.client.get(admin(venue)).json()["faults"]]
    assert 404 == venue.client.delete(f"{admin(venue)}/{first}").status_code


# -------------------------------------------------------------------- feed


def heartbeats(venue: RunningExchange) -> Connection:
    """Return a client of the heartbeats channel whose acknowledgement has come."""
    peer = connect(f"ws://{venue.host}", close_timeout=0.2)
    peer.send('{"type": "subscribe", "channel": "heartbeats"}')
    assert 0 == json.loads(peer.recv(timeout=5))["sequence_num"]
    return peer


def until_closed(peer: Connection) -> None:
    """Receive; a beat that was on its way before a fault was in force comes through."""
    for _ in range(3):
        peer.recv(timeout=5)


def test_maintenance_closes_the_feed(venue: RunningExchange) -> None:
    """Clients are sent away with 1012, and new ones are refused until it is over."""
    with heartbeats(venue) as peer:
        number = fault(venue, on="feed", kind="maintenance")
        with pytest.raises(ConnectionClosed) as caught:
            until_closed(peer)
    assert caught.value.rcvd is not None
    assert 1012 == caught.value.rcvd.code
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://{venue.host}")
    assert 503 == refused.value.response.status_code
    venue.client.delete(f"{admin(venue)}/{number}")
    with heartbeats(venue):
        pass


@pytest.mark.parametrize("code", [None, 1001])
def test_the_feed_can_be_disconnected(venue: RunningExchange, code: int | None) -> None:
    """Without a code the connection just ends; with one it is closed properly."""
    with heartbeats(venue) as peer:
        fault(venue, on="feed", kind="disconnect", channel="heartbeats", code=code, count=1)
        with pytest.raises(ConnectionClosed) as caught:
            until_closed(peer)
    assert (code is None) == isinstance(caught.value, ConnectionClosedError)


class Recorder:
    """Frames that are kept instead of sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, *pieces: bytes) -> None:
        """Keep a frame."""
        self.sent.append(b"".join(pieces))

    def waiting_bytes(self) -> int:
        """Say that nothing waits."""
        return 0

    def abort(self) -> None:
        """Keep the end, too."""
        self.sent.append(b"ABORTED")


def deliver(count: int, *rules: FaultRule, queue_bytes: int = 1 << 20) -> list[str]:
    """Return what a client gets of so many messages; `| ` marks where all delays have passed."""
    book = FaultBook(CollectorRegistry())
    for rule in rules:
        book.add(rule)
    waiting: list[Callable[[], None]] = []
    faults = FeedFaults(book, lambda _seconds, call: waiting.append(call))
    frames = Recorder()
    client = Client(
        number=1, address="here", frames=frames, queue_bytes=queue_bytes, monotonic=lambda: 0.0
    )
    for number in range(count):
        faults.deliver(client, Message("l2_data", b"", b":%c" % (97 + number)))
    if waiting:
        frames.sent.append(b"|")
    for call in waiting:
        call()
    assert not faults.armed() or book.feed_armed
    assert client.ended.is_set() == (b"ABORTED" in frames.sent)
    return [frame.decode() for frame in frames.sent]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (FaultKind.DROP, ["0:a", "2:c", "3:d"]),
        (FaultKind.DUPLICATE, ["0:a", "1:b", "1:b", "2:c", "3:d"]),
        (FaultKind.REORDER, ["0:a", "2:c", "1:b", "3:d", "|"]),
        (FaultKind.DELAY, ["0:a", "|", "1:b", "2:c", "3:d"]),
        (FaultKind.SEQUENCE_GAP, ["0:a", "6:b", "7:c", "8:d"]),
        (FaultKind.DISCONNECT, ["0:a", "ABORTED"]),
    ],
)
def test_what_each_kind_does_to_the_sequence(kind: FaultKind, expected: list[str]) -> None:
    """The second of four messages is struck; numbers show what was lost, doubled or swapped."""
    rule = FaultRule(on="feed", kind=kind, channel="level2", skip=1, count=1, gap=5)
    assert expected == deliver(4, rule)


def test_a_swapped_last_message_comes_after_its_delay() -> None:
    """Where no message follows, reordering is a delay."""
    rule = FaultRule(on="feed", kind=FaultKind.REORDER, skip=1)
    assert ["0:a", "|", "1:b"] == deliver(2, rule)


def test_what_a_delay_holds_back_is_bounded() -> None:
    """Beyond the connection's bound it is cut off, as if it read too slowly."""
    rule = FaultRule(on="feed", kind=FaultKind.DELAY, count=1)
    assert ["ABORTED", "|"] == deliver(4, rule, queue_bytes=5)


def test_the_same_seed_gives_the_same_faults() -> None:
    """What is struck depends on the seed and on the order of messages, on nothing else."""

    def lost(seed: int) -> list[str]:
        rule = FaultRule(on="feed", kind=FaultKind.DROP, probability=0.5, seed=seed)
        return deliver(20, rule)

    assert lost(7) == lost(7)
    assert lost(7) != lost(8)
    assert 0 < len(lost(7)) < 20


def test_rules_of_other_channels_and_paths_do_not_match() -> None:
    """Names match as they are subscribed to and as they are sent; paths whole or by beginning."""
    book = FaultBook(CollectorRegistry())
    book.add(FaultRule(on="feed", kind=FaultKind.DROP, channel="l2_data", account="a"))
    assert book.on_feed("user", "a") is None
    assert book.on_feed("level2", "b") is None
    assert book.on_feed("level2", "a") is not None
    book.add(FaultRule(on="rest", kind=FaultKind.DROP, path="/x/*"))
    assert book.on_rest("GET", "/x", None) is None
    assert book.on_rest("GET", "/x/y", None) is not None
    with pytest.raises(NotFound):
        book.clear(9)
    for _ in range(98):
        book.add(FaultRule(on="rest", kind=FaultKind.DROP))
    with pytest.raises(InvalidInput, match="none more allowed"):
        book.add(FaultRule(on="rest", kind=FaultKind.DROP))

"""The quick way of order requests: the same bytes as the long way, and the same checks."""

import json
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.paper_exchange import quick
from tests.services.paper_exchange import API, BIP, RunningExchange, gtc, running_exchange

ORDERS = f"{API}/orders"
CANCEL = f"{ORDERS}/batch_cancel"
EDIT = f"{ORDERS}/edit"
BATCH = f"{ORDERS}/historical/batch"
FILLS = f"{ORDERS}/historical/fills"
UNTAKEN = {"on": "rest", "kind": "drop", "path": "/nowhere"}
"""A fault that strikes nothing: with it in force every request takes the long way."""


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningExchange]:
    """A quiet venue whose buckets are full again at once, so that quotas read the same."""
    with running_exchange(
        tmp_path_factory.mktemp("exchange"), rate_limit_per_second=1e6, flow="none"
    ) as running:
        yield running


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The bodies that were answered the quick way."""
    taken: list[bytes] = []
    answer = quick.QuickOrders._answer

    async def counted(self: quick.QuickOrders, *arguments: Any) -> Any:
        taken.append(arguments[-1])
        return await answer(self, *arguments)

    monkeypatch.setattr(quick.QuickOrders, "_answer", counted)
    return taken


def request(
    venue: RunningExchange, path: str, body: bytes, *extra: str, token: str | None = None
) -> bytes:
    """Return a signed POST as bytes, with more header lines."""
    signed = venue.key.token(f"POST {venue.host}{path.partition('?')[0]}")
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: {venue.host}",
        f"Authorization: Bearer {signed if token is None else token}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *extra,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def question(venue: RunningExchange, path: str, *extra: str, token: str | None = None) -> bytes:
    """Return a signed GET as bytes, with more header lines."""
    signed = venue.key.token(f"GET {venue.host}{path.partition('?')[0]}")
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {venue.host}",
        f"Authorization: Bearer {signed if token is None else token}",
        *extra,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def exchange(venue: RunningExchange, sent: bytes, answers: int = 1) -> list[bytes]:
    """Send bytes on a new connection and return so many answers, without their dates."""
    found = []
    with socket.create_connection(("127.0.0.1", venue.port), timeout=5) as peer:
        peer.sendall(sent)
        stream = peer.makefile("rb")
        for _ in range(answers):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                line = stream.readline()
                assert line, head
                head += line
            length = re.search(rb"content-length: (\d+)", head)
            assert length is not None
            body = stream.read(int(length[1]))
            found.append(re.sub(rb"date: [^\r]*\r\n", b"", head) + body)
    return found


def order(client_order_id: str = "twice", **fields: Any) -> bytes:
    """Return the body of an order that rests."""
    body = {
        "client_order_id": client_order_id,
        "product_id": BIP,
        "side": "BUY",
        "order_configuration": gtc("1", "50000"),
        **fields,
    }
    return json.dumps(body).encode()


CASES = {
    "the same order again": (ORDERS, order()),
    "refused": (ORDERS, order("big", order_configuration=gtc("0.5", "50000"))),
    "unknown field": (ORDERS, order("unknown", reduceOnly=True)),
    "not JSON": (ORDERS, b"{"),
    "no body": (ORDERS, b""),
    "cancel of nothing": (CANCEL, b'{"order_ids": ["x", "y"]}'),
    "cancel without ids": (CANCEL, b'{"order_ids": []}'),
    "edit of nothing": (EDIT, b'{"order_id": "x", "price": "50005", "size": "1"}'),
}


@pytest.mark.parametrize("name", CASES)
def test_both_ways_answer_the_same_bytes(
    venue: RunningExchange, ways: list[bytes], name: str
) -> None:
    """Status line, headers in their order and body agree; only the date is left out."""
    path, body = CASES[name]
    exchange(venue, request(venue, ORDERS, order()))
    ways.clear()
    (short,) = exchange(venue, request(venue, path, body))
    assert [body] == ways
    (long,) = exchange(venue, request(venue, path, body, "Expect: nothing"))
    assert [body] == ways
    assert long == short


QUESTIONS = (
    BATCH,
    f"{BATCH}?product_ids={BIP}&order_status=OPEN&limit=2",
    f"{BATCH}?order_ids=a,b&order_ids=%63&retail_portfolio_id=+x%20y",
    FILLS,
    f"{FILLS}?order_ids=a&order_ids=b&limit=250",
    f"{FILLS}?",
    f"{FILLS}?odd=1",
    f"{FILLS}?limit=%C3%A9",
    f"{FILLS}?order_ids=%e9&=&&a",
)


@pytest.mark.parametrize("path", QUESTIONS)
def test_both_ways_answer_a_question_with_the_same_bytes(
    venue: RunningExchange, ways: list[bytes], path: str
) -> None:
    """What is asked in a query is read alike, wrong names and values included."""
    exchange(venue, request(venue, ORDERS, order()))
    ways.clear()
    (short,) = exchange(venue, question(venue, path))
    assert [b""] == ways
    (long,) = exchange(venue, question(venue, path, "Expect: nothing"))
    assert [b""] == ways
    assert long == short


def test_a_token_is_good_for_one_question(venue: RunningExchange, ways: list[bytes]) -> None:
    """Here, too, each token is checked, and used up."""
    asked = question(venue, FILLS, token=venue.key.token(f"GET {venue.host}{FILLS}"))
    answers = [exchange(venue, asked)[0][9:12] for _ in range(2)]
    assert [b"200", b"401"] == answers
    assert [b"", b""] == ways


@pytest.mark.parametrize("token", ["", "x", "expired", "other path", "used"])
def test_every_token_is_checked(venue: RunningExchange, ways: list[bytes], token: str) -> None:
    """What is refused on the long way is refused here, with the same bytes."""
    past = int(time.time()) - 600
    made = {
        "expired": venue.key.token(f"POST {venue.host}{ORDERS}", nbf=past, exp=past + 120),
        "other path": venue.key.token(f"POST {venue.host}{CANCEL}"),
        "used": venue.key.token(f"POST {venue.host}{ORDERS}"),
    }.get(token, token)
    if token == "used":
        exchange(venue, request(venue, ORDERS, order(), token=made))
    before = len(ways)
    (short,) = exchange(venue, request(venue, ORDERS, order("never"), token=made))
    assert before + 1 == len(ways)
    (long,) = exchange(venue, request(venue, ORDERS, order("never"), "Expect: x", token=made))
    assert short.startswith(b"HTTP/1.1 401 ")
    assert long == short


def test_a_new_order_differs_in_its_id_only(venue: RunningExchange, ways: list[bytes]) -> None:
    """An order that is accepted says the same but for the ids."""
    (short,) = exchange(venue, request(venue, ORDERS, order("new-1")))
    (long,) = exchange(venue, request(venue, ORDERS, order("new-2"), "Expect: nothing"))
    assert 1 == len(ways)
    ids = re.compile(rb'"order_id":"[^"]*"|new-[12]')
    assert b'"success":true' in short
    assert ids.sub(b"", long) == ids.sub(b"", short)


@pytest.mark.parametrize(
    ("path", "body", "extra"),
    [
        (f"{ORDERS}?a=1", order(), ()),
        (ORDERS, order(), ("Connection: close",)),
        (ORDERS, b" " * 70_000, ()),
        (f"{ORDERS}/preview", order(), ()),
    ],
)
def test_what_is_not_plain_takes_the_long_way(
    venue: RunningExchange, ways: list[bytes], path: str, body: bytes, extra: tuple[str, ...]
) -> None:
    """Queries, odd connections, long bodies and other paths are not for the quick way."""
    assert exchange(venue, request(venue, path, body, *extra))
    assert [] == ways


@pytest.mark.parametrize(
    ("path", "extra"),
    [
        (FILLS, ("Expect: nothing",)),
        (FILLS, ("Connection: close",)),
        (FILLS, ("Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",)),
        (f"{FILLS}?a=1#b", ()),
        (f"{FILLS}/", ()),
        (f"{ORDERS}/historical/%66ills", ()),
    ],
)
def test_a_question_that_is_not_plain_takes_the_long_way(
    venue: RunningExchange, ways: list[bytes], path: str, extra: tuple[str, ...]
) -> None:
    """Expectations, traces, fragments and other spellings of the path are not for the quick way."""
    assert exchange(venue, question(venue, path, *extra))
    assert [] == ways


def test_with_faults_in_force_everything_takes_the_long_way(
    venue: RunningExchange, ways: list[bytes]
) -> None:
    """A fault could strike any request, so that none may pass it by."""
    faults = f"http://{venue.host}/admin/faults"
    venue.client.post(faults, json=UNTAKEN).raise_for_status()
    try:
        assert exchange(venue, request(venue, ORDERS, order()))
        assert [] == ways
    finally:
        venue.client.delete(faults)
    assert exchange(venue, request(venue, ORDERS, order()))
    assert [order()] == ways


def test_requests_sent_together_are_answered_in_order(venue: RunningExchange) -> None:
    """Three requests in one piece get three answers, in their order."""
    bodies = [order("p-1"), b"{", order("p-1")]
    answers = exchange(venue, b"".join(request(venue, ORDERS, body) for body in bodies), 3)
    assert [b"200", b"400", b"200"] == [answer[9:12] for answer in answers]
    assert answers[0] == answers[2]


VALUES: st.SearchStrategy[object] = st.sampled_from(
    ["1", "50000", "0", "-1", "1e9", "", "x", 1, 1.5, True, None, [], {}, "é"]
)
CONFIGURATIONS = st.dictionaries(
    st.sampled_from(["limit_limit_gtc", "market_market_ioc", "stop_limit_stop_limit_gtc", "x"]),
    st.dictionaries(
        st.sampled_from(["base_size", "limit_price", "post_only", "stop_price", "quote_size"]),
        VALUES,
        max_size=4,
    ),
    max_size=2,
)
BODIES = st.one_of(
    st.binary(max_size=40),
    st.fixed_dictionaries(
        {"client_order_id": st.sampled_from(["same", "other", ""]), "product_id": st.just(BIP)},
        optional={
            "side": st.sampled_from(["BUY", "SELL", "buy", None]),
            "order_configuration": CONFIGURATIONS,
            "leverage": VALUES,
            "margin_type": st.sampled_from(["CROSS", "ISOLATED", "x", None]),
            "odd": VALUES,
        },
    ).map(lambda body: json.dumps(body).encode()),
    st.dictionaries(
        st.sampled_from(["order_id", "order_ids", "price", "size", "odd"]),
        st.one_of(VALUES, st.just(["x"])),
        max_size=4,
    ).map(lambda body: json.dumps(body).encode()),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    path=st.sampled_from([ORDERS, CANCEL, EDIT]),
    body=BODIES,
    extra=st.lists(
        st.sampled_from(
            ["X-A: b", "Connection: keep-alive", "Accept: */*", "Authorization: Bearer x"]
        ),
        max_size=2,
        unique=True,
    ),
)
def test_both_ways_agree_on_whatever_is_sent(
    venue: RunningExchange, path: str, body: bytes, extra: list[str]
) -> None:
    """Random bodies and headers get the same bytes, and never a 5xx."""
    (short,) = exchange(venue, request(venue, path, body, *extra))
    (long,) = exchange(venue, request(venue, path, body, *extra, "Expect: nothing"))
    assert long == short
    assert not short.startswith(b"HTTP/1.1 5")

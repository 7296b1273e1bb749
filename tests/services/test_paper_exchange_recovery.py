"""Crashes at every point: what was recorded comes back to the same hash, nothing twice."""

import shutil
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lob.errors import ConfigError, Unavailable
from lob.types import Side, TimeInForce
from services.paper_exchange import recovery, snapshots
from services.paper_exchange import store as store_module
from services.paper_exchange.__main__ import arguments, set_aside
from services.paper_exchange.clock import ExchangeClock
from services.paper_exchange.entries import decode_entry, encode_command, encode_entry
from services.paper_exchange.recovery import recover, start_anew
from services.paper_exchange.settings import ExchangeSettings
from services.paper_exchange.snapshots import (
    OtherCodeError,
    read_snapshot,
    snapshot_path,
    write_snapshot,
)
from services.paper_exchange.store import Store, StorePolicy, remove_old
from services.paper_exchange.venue import Venue
from tests.services.paper_exchange import wait_until
from touchstone.exchange import (
    PRODUCTS,
    Exchange,
    ExchangeConfig,
    OrderRequest,
    Product,
    Updates,
)
from touchstone.exchange.background import FlowKind
from touchstone.exchange.commands import (
    COMMANDS,
    Allocate,
    CancelOrders,
    ClosePosition,
    Command,
    CreateOrder,
    EditOrder,
    MoveIndex,
    OpenAccount,
    PauseFlow,
    Resume,
)
from touchstone.exchange.options import CancelSweep, ScheduleSweep, SetIntradayMargin, SetMultiAsset
from touchstone.exchange.portfolios import (
    CreatePortfolio,
    DeletePortfolio,
    MoveFunds,
    RenamePortfolio,
)
from touchstone.exchange.requests import (
    Bracket,
    CloseRequest,
    Distribution,
    EditRequest,
    MarginType,
    Scaled,
    StopDirection,
    Twap,
)
from touchstone.exchange.state import outcome
from touchstone.kit import framing
from touchstone.kit.framing import Damaged
from touchstone.kit.journal import Journal, Reading, segment_path, segments

HOUR_NS = 3_600 * 10**9
START_NS = 400_000 * HOUR_NS - 10 * 10**9
"""Ten seconds before a funding hour."""

NAMES = ("alice", "bob")
LISTED = (PRODUCTS[0], PRODUCTS[2])


CHANGED_LAYOUT = {"touchstone.exchange.desk:OrderDesk": ["brand_new"]}


class Silent:
    """A publisher that nobody listens to."""

    def publish(self, updates: Updates) -> None:
        """Drop the updates."""


def config(**changes: Any) -> ExchangeConfig:
    """Return the rules of a small venue that customers have to themselves."""
    return ExchangeConfig(
        **{"start_ns": START_NS, "products": LISTED, "flow": FlowKind.NONE, **changes}
    )


class Life:
    """A venue in a folder whose clock is a test's own, and the hash after each of its records."""

    def __init__(self, folder: Path, rules: ExchangeConfig | None = None) -> None:
        self.folder = folder
        self.rules = rules or config()
        self.real_ns = 0
        self.hashes: dict[int, str] = {}
        self.begin()

    def begin(self) -> None:
        """Start, or start again."""
        self.store = Store(self.folder, self.rules, StorePolicy(sync=False))
        record = self.store.record

        def noting(name: str, began_ns: int, fields: bytes = b"null") -> None:
            record(name, began_ns, fields)
            self.hashes[self.store.journal.number] = self.store.exchange.state_hash()

        self.store.record = noting  # type: ignore[method-assign]
        self.hashes[self.store.journal.number] = self.store.exchange.state_hash()
        clock = ExchangeClock(
            1.0,
            monotonic_ns=lambda: self.real_ns,
            wall_ns=lambda: START_NS + self.real_ns,
            earliest_ns=self.store.exchange.now_ns,
        )
        self.venue = Venue(self.store.exchange, clock, Silent(), 0.05, store=self.store)
        self.venue.start(NAMES)

    @property
    def exchange(self) -> Exchange:
        """Return the engine that lives now."""
        return self.store.exchange

    def die(self) -> None:
        """End as `kill -9` does: nothing is written any more, the lock is gone."""
        self.store.abandon()

    def wait(self, milliseconds: int) -> None:
        """Let time go on in ticks of 50 ms or longer ones, whatever is due."""
        end = self.real_ns + milliseconds * 10**6
        while self.real_ns < end:
            self.real_ns = min(end, self.real_ns + max(50 * 10**6, milliseconds * 10**5))
            while not self.venue.tick():
                pass

    def tell(self, command: Command) -> object:
        """Have a command carried out."""
        return self.venue.carry_out(command)


def order(number: int, offset: int | None, lots: int = 1, **changes: Any) -> OrderRequest:
    """Return an order `offset` ticks from the first price; None makes it a market order."""
    product = changes.pop("product", LISTED[0])
    tick = product.instrument.tick_size
    return OrderRequest(
        **{
            "client_order_id": str(number),
            "product_id": product.product_id,
            "side": Side.BUY,
            "size": product.instrument.quantity(lots),
            "limit_price": None if offset is None else product.reference_price + offset * tick,
            "time_in_force": TimeInForce.IOC if offset is None else TimeInForce.GTC,
            **changes,
        }
    )


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("create"),
            st.sampled_from(NAMES),
            st.sampled_from(LISTED),
            st.sampled_from(list(Side)),
            st.one_of(st.none(), st.integers(-30, 30)),
            st.sampled_from([1, 20, 400]),
            st.sampled_from(["plain", "plain", "gtd", "stop", "attached", "twap"]),
        ),
        st.tuples(st.just("edit"), st.sampled_from(NAMES), st.integers(-40, 40)),
        st.tuples(st.just("close"), st.sampled_from(NAMES), st.sampled_from(LISTED)),
        st.tuples(st.just("index"), st.sampled_from(["94000", "100000", "107000"])),
        st.tuples(st.just("cancel"), st.sampled_from(NAMES), st.integers(0, 9)),
        st.tuples(st.just("wait"), st.integers(1, 2_000)),
        st.tuples(st.just("wait"), st.just(15_000)),
        st.tuples(st.just("pause"), st.booleans()),
        st.tuples(st.just("snapshot")),
        st.tuples(st.just("crash"), st.sampled_from([0, 1, 4_000])),
    ),
    min_size=6,
    max_size=12,
)


def special(kind: str, now_ns: int, product: Product, side: Side) -> dict[str, Any]:
    """Return what makes an order one of a kind that has work to do later."""
    away = side.sign * 20 * product.instrument.tick_size
    first = product.reference_price
    match kind:
        case "gtd":
            return {"time_in_force": TimeInForce.GTD, "end_time_ns": now_ns + 3 * 10**9}
        case "stop":
            up = side is Side.BUY
            return {
                "stop_price": first + away,
                "stop_direction": StopDirection.UP if up else StopDirection.DOWN,
            }
        case "attached":
            return {"attached": Bracket(first + 50 * away, first - 50 * away)}
        case "twap":
            bucket = product.instrument.quantity(1)
            return {
                "twap": Twap(now_ns, 4, bucket, 2 * 10**9),
                "size": 4 * bucket,
                "time_in_force": TimeInForce.GTD,
                "end_time_ns": now_ns + 9 * 10**9,
            }
        case _:
            return {}


def command(exchange: Exchange, number: int, step: tuple[Any, ...]) -> Command | None:
    """Return what a step has an account ask for; None where it is no such step."""
    asked: Command | None = None
    match step:
        case ("create", name, product, side, offset, lots, kind):
            terms = special(kind, exchange.now_ns, product, side)
            offset = 0 if offset is None and kind != "plain" else offset
            request = order(number, offset, lots, product=product, side=side, **terms)
            asked = CreateOrder(account=name, request=request)
        case ("edit", name, offset):
            edited = next(iter(exchange.open_orders(name)), None)
            product = LISTED[0] if edited is None else edited.product
            price = product.reference_price + offset * product.instrument.tick_size
            order_id = "unknown" if edited is None else edited.order_id
            size = product.instrument.quantity(7)
            edit = EditRequest(order_id=order_id, price=price, size=size)
            asked = EditOrder(account=name, request=edit)
        case ("close", name, product):
            close = CloseRequest(client_order_id=f"c{number}", product_id=product.product_id)
            asked = ClosePosition(account=name, request=close)
        case ("cancel", name, place):
            mine = exchange.orders(name)
            ids = (mine[place % len(mine)].order_id,) if mine else ("unknown",)
            asked = CancelOrders(account=name, order_ids=ids)
        case ("index", price):
            asked = MoveIndex(coin="BTC", price=Decimal(price))
        case ("pause", paused):
            asked = PauseFlow(paused=paused)
        case _:
            pass
    return asked


def live(life: Life, steps: list[tuple[Any, ...]]) -> None:
    """Go through steps; each crash comes back to the hash of the last record."""
    for number, step in enumerate(steps):
        asked = command(life.exchange, number, step)
        if asked is not None:
            life.tell(asked)
        match step:
            case ("wait", milliseconds):
                life.wait(milliseconds)
            case ("snapshot",):
                life.store.snapshot()
            case ("crash", seconds):
                before = life.store.journal.number, life.hashes[life.store.journal.number]
                life.die()
                life.real_ns += seconds * 10**9
                back = recover(life.folder, life.rules)
                assert before == (back.number, back.exchange.state_hash())
                life.begin()
            case _:
                pass
    life.exchange.check()


@given(steps=STEPS, cuts=st.lists(st.floats(0, 1, exclude_max=True), min_size=3, max_size=3))
@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),  # explaining traces every line
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_every_record_comes_back_to_its_hash(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[Any, ...]], cuts: list[float]
) -> None:
    """From every snapshot, every record leads to the hash it had; cut at any byte, the one before.

    So whatever was acknowledged before the cut is there, and exactly once.
    """
    folder = tmp_path_factory.mktemp("state") / "state"
    with patch.object(store_module, "remove_old"):  # every snapshot stays, and all of the journal
        life = Life(folder, config(flow=FlowKind.ZERO_INTELLIGENCE, flow_rate=0.2))
        live(life, steps)
    life.die()
    for number, path in snapshots.snapshots(folder):
        exchange = read_snapshot(path).exchange
        for kept in Reading(folder, number):
            recovery._replay(exchange, kept)
            if number == 0 or kept.number + 1 == life.store.journal.number:
                assert life.hashes[kept.number + 1] == exchange.state_hash()
    for cut in cuts:
        copy = tmp_path_factory.mktemp("cut") / "state"
        shutil.copytree(folder, copy)
        whole = cut_at(copy, cut)
        back = recover(copy, life.rules)
        assert (whole, life.hashes[whole]) == (back.number, back.exchange.state_hash())
    assert_paid_once(life.exchange)


def cut_at(folder: Path, share: float) -> int:
    """Cut the journal at this share of all its bytes; return how many records are whole then."""
    files = [path for _, path in segments(folder)]
    cut = int(share * sum(path.stat().st_size for path in files))
    for place, path in enumerate(files):
        size = path.stat().st_size
        if cut <= size:
            kept = list(Reading(folder, 0))
            whole = [
                record.number + 1
                for record in kept
                if files.index(record.path) < place
                or (
                    record.path == path
                    and record.offset + len(framing.frame(record.number, record.payload)) <= cut
                )
            ]
            with path.open("r+b") as file:
                file.truncate(cut)
            for later in files[place + 1 :]:
                later.unlink()
            reached = max(whole, default=0)
            for number, taken in snapshots.snapshots(folder):
                if number > reached:
                    taken.unlink()
            return reached
        cut -= size
    raise AssertionError("the cut lies beyond the journal")


def assert_paid_once(exchange: Exchange) -> None:
    """Prove that no account got or paid the funding of one product and hour twice."""
    for name in NAMES:
        seen = [(paid.product_id, paid.time_ns) for paid in exchange.accounts[name].payments]
        assert len(set(seen)) == len(seen)
        assert all(time_ns % HOUR_NS == 0 for _, time_ns in seen)


def test_funding_missed_in_downtime_is_paid_once(tmp_path: Path) -> None:
    """Two days down, and down again: each hour's funding is there, once."""
    life = Life(tmp_path / "state")
    life.tell(CreateOrder(account="bob", request=order(1, 0, 50, side=Side.SELL)))
    life.tell(CreateOrder(account="alice", request=order(1, None, 50)))
    assert life.exchange.accounts["alice"].position(LISTED[0].product_id).lots
    life.wait(12_000)
    for seconds in (0, 48 * 3_600, 1, 0):
        life.die()
        life.real_ns += seconds * 10**9
        life.begin()
        past = range(START_NS + 10 * 10**9, START_NS + life.real_ns + 1, HOUR_NS)
        assert list(past) == paid_hours(life)
        life.exchange.check()
    assert 49 == len(paid_hours(life))


def paid_hours(life: Life) -> list[int]:
    """Return the times at which alice paid or got funding."""
    return [paid.time_ns for paid in life.exchange.accounts["alice"].payments]


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    """A venue that has lived a little."""
    made = Life(tmp_path / "state")
    made.tell(CreateOrder(account="alice", request=order(1, -5)))
    made.wait(2_000)
    yield made
    made.die()


def test_a_stop_leaves_nothing_to_replay(life: Life) -> None:
    """A stop writes a snapshot; the next start replays nothing and has the same state."""
    before = life.exchange.state_hash()
    life.store.close()
    back = recover(life.folder, life.rules)
    assert (0, before) == (back.records_replayed, back.exchange.state_hash())


def test_a_venue_that_stopped_for_good_leaves_no_snapshot(life: Life) -> None:
    """What is in memory after a defect is not kept: the journal is."""
    number = life.store.journal.number
    life.store.close(intact=False)
    back = recover(life.folder, life.rules)
    assert (number, life.hashes[number]) == (back.number, back.exchange.state_hash())
    assert 0 < back.records_replayed


def test_a_second_process_is_refused(life: Life) -> None:
    """Two venues never have one folder; which process has it is said."""
    with pytest.raises(ConfigError, match=r"another paper exchange \(process \d+\)"):
        Store(life.folder, life.rules)
    with pytest.raises(ConfigError, match="another paper exchange"):
        start_anew(life.folder)
    life.die()
    Store(life.folder, life.rules).close()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 2}, "seed: 2, but the state in .* was begun with 1"),
        ({"starting_balance": Decimal(5)}, "starting_balance: 5, but"),
        ({"products": PRODUCTS}, "products: .*--start-anew --confirm"),
    ],
)
def test_other_settings_are_refused(life: Life, changes: dict[str, Any], said: str) -> None:
    """A state of other settings is not gone on from; the line says what to do."""
    life.die()
    with pytest.raises(ConfigError, match=said):
        Store(life.folder, config(**changes))


def test_settings_of_the_moment_may_differ(life: Life) -> None:
    """When a venue began and what its ids are made of come from what was kept."""
    life.die()
    store = Store(life.folder, config(start_ns=START_NS + 5, run="another"))
    assert ("run", START_NS) == (store.exchange.config.run, store.exchange.config.start_ns)
    store.close()


def test_a_damaged_snapshot_falls_back_to_the_one_before(life: Life) -> None:
    """The last two snapshots are kept, with the journal from the older one on."""
    for _ in range(3):
        life.wait(1_100)
        write_snapshot(life.folder, life.store.journal.rotate(), life.exchange)
        remove_old(life.folder)
    life.wait(1_100)
    number = life.store.journal.number
    life.die()
    found = snapshots.snapshots(life.folder)
    assert 2 == len(found)
    assert found[0][0] == segments(life.folder)[0][0]
    for left, (_, path) in zip((1, 0), reversed(found), strict=True):
        content = bytearray(path.read_bytes())
        content[-100] ^= 1
        path.write_bytes(content)
        if left:
            back = recover(life.folder, life.rules)
            assert (found[0][0], number) == (back.snapshot_number, back.number)
            assert life.hashes[number] == back.exchange.state_hash()
    with pytest.raises(Damaged, match=r"snapshot-.*: byte \d+: the state is damaged"):
        recover(life.folder, life.rules)


def test_a_journal_without_a_snapshot_is_not_begun_anew(life: Life) -> None:
    """Where the snapshots are gone, nobody trades on as if nothing had been."""
    life.die()
    for _, path in snapshots.snapshots(life.folder):
        path.unlink()
    with pytest.raises(Damaged, match="no snapshot that it goes on from"):
        recover(life.folder, life.rules)


def test_a_death_right_after_the_beginning_is_a_restart(tmp_path: Path) -> None:
    """With a first snapshot and no record yet, time is made up for as after any downtime."""
    folder = tmp_path / "state"
    Life(folder).die()
    (path,) = (path for _, path in segments(folder))
    path.unlink()
    again = Life(folder)
    assert not again.store.recovered.begun
    kinds = [type(decode_entry(kept.payload).command) for kept in Reading(folder, 0)]
    assert [Resume, OpenAccount, OpenAccount] == kinds
    again.die()


def test_a_torn_end_is_cut_and_the_journal_goes_on(life: Life) -> None:
    """What a write under way left is cut off, and records follow where it was."""
    number = life.store.journal.number
    life.die()
    path = segments(life.folder)[-1][1]
    with path.open("ab") as file:
        file.write(framing.frame(number, b"half of it")[:-3])
    life.begin()
    assert 0 < life.store.recovered.torn_bytes
    life.wait(1_100)
    after, digest = life.store.journal.number, life.exchange.state_hash()
    life.die()
    back = recover(life.folder, life.rules)
    assert (after, digest, 0) == (back.number, back.exchange.state_hash(), back.torn_bytes)


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b'["FlyToTheMoon",1,2,{}]', "command 'FlyToTheMoon'; known: "),
        (b"[1,2", "record 1: "),
        (b'["CancelOrders",%d,2,{"account":"x"}]' % START_NS, "order_ids"),
        (encode_entry("Advance", START_NS, 7), "comes to something else than it did"),
        (encode_entry("Advance", START_NS - 1, 7), "is in the past"),
    ],
)
def test_what_this_code_cannot_replay_is_said(tmp_path: Path, payload: bytes, said: str) -> None:
    """A record of other code stops the start, with file, offset and what to do."""
    folder = tmp_path / "state"
    Life(folder).die()
    path = segments(folder)[-1][1]
    path.unlink()
    journal = Journal(folder, 0, sync=False)
    journal.append(encode_entry("Advance", START_NS, outcome_at_start(folder)))
    journal.append(payload)
    journal.close()
    with pytest.raises(OtherCodeError, match=said) as raised:
        recover(folder, config())
    assert f"{segment_path(folder, 0)}: byte " in str(raised.value)
    assert "--start-anew --confirm" in str(raised.value)


def outcome_at_start(folder: Path) -> int:
    """Return the outcome that a replay of nothing comes to."""
    return outcome(read_snapshot(snapshot_path(folder, 0)).exchange)


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        (lambda m: m.setattr(snapshots, "STATE_VERSION", 99), "state version 1, not 99"),
        (
            lambda m: m.setattr(snapshots, "survey", lambda _: ("", CHANGED_LAYOUT)),
            "touchstone.exchange.desk:OrderDesk: .*brand_new",
        ),
        (
            lambda m: m.setattr(snapshots, "state_hash", lambda _: "0" * 32),
            "its hash is 0{32}, not",
        ),
    ],
)
def test_a_state_of_other_code_is_refused(
    life: Life,
    monkeypatch: pytest.MonkeyPatch,
    patch: Callable[[pytest.MonkeyPatch], None],
    said: str,
) -> None:
    """Code that cannot go on from a state says which part, and how to start anew."""
    life.die()
    monkeypatch.setattr(snapshots, "code_digest", lambda: "another")
    patch(monkeypatch)
    with pytest.raises(OtherCodeError, match=said) as raised:
        recover(life.folder, life.rules)
    assert "start anew: python -m services.paper_exchange --start-anew" in str(raised.value)


def test_other_code_that_comes_to_the_same_goes_on(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change of code that changes nothing of the state needs nothing."""
    life.die()
    monkeypatch.setattr(snapshots, "code_digest", lambda: "another")
    back = recover(life.folder, life.rules)
    assert life.hashes[back.number] == back.exchange.state_hash()


def test_starting_anew_sets_the_state_aside(life: Life) -> None:
    """The old state is kept beside, the new one begins with the starting balance."""
    life.die()
    moved = start_anew(life.folder)
    assert moved is not None
    assert snapshots.snapshots(moved)
    life.folder.mkdir()
    back = recover(life.folder, life.rules)
    assert (True, {}) == (back.begun, back.exchange.accounts)
    nothing = life.folder / "nothing"
    assert start_anew(nothing) is None
    assert not nothing.exists()


def test_a_snapshot_is_written_by_a_child(life: Life) -> None:
    """A forked snapshot holds what was there at the fork, while the venue goes on."""
    store = life.store
    store.policy = StorePolicy(sync=False, snapshot_records=1)
    number, digest = store.journal.number, life.exchange.state_hash()
    store.look_after()
    life.tell(CreateOrder(account="bob", request=order(2, -7)))
    store.policy = StorePolicy(sync=False)

    def taken() -> bool:
        store.look_after()
        return store.snapshot_number == number

    wait_until(taken)
    assert "" == store.snapshot_failure
    assert digest == read_snapshot(snapshot_path(life.folder, number)).exchange.state_hash()
    assert 1 == store.records_since_snapshot
    assert [] == list(life.folder.glob("*.unfinished"))


def test_a_snapshot_that_fails_is_told_and_removes_nothing(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the child cannot write, the journal is kept from the last good snapshot on."""
    store = life.store

    def broken(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(snapshots, "write_snapshot", broken)
    store.policy = StorePolicy(sync=False, snapshot_records=1)

    def failed() -> bool:
        store.look_after()
        return bool(store.snapshot_failure)

    wait_until(failed)
    assert "No space left on device" == store.snapshot_failure
    life.wait(1_100)
    number = store.journal.number
    life.die()
    back = recover(life.folder, life.rules)
    assert (0, life.hashes[number]) == (back.snapshot_number, back.exchange.state_hash())


async def test_a_full_disk_stops_the_venue(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be kept is not acknowledged: the venue stops and says why; a restart has all."""
    number = life.store.journal.number

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("touchstone.kit.journal.os.write", full)
    with pytest.raises(Unavailable, match="No space left on device"):
        await life.venue.create("alice", order(9, -9))
    monkeypatch.undo()
    with pytest.raises(Unavailable, match=r"the venue has stopped: .*No space left"):
        await life.venue.cancel("alice", ["x"])
    life.store.close(intact=not life.venue.failure)
    back = recover(life.folder, life.rules)
    assert (number, life.hashes[number]) == (back.number, back.exchange.state_hash())


EXAMPLES: list[Command] = [
    OpenAccount(account="a"),
    CreateOrder(
        account="ä",
        request=order(
            1,
            3,
            leverage=Decimal("2.5"),
            margin_type=MarginType.ISOLATED,
            stop_price=Decimal("99.50"),
            stop_direction=StopDirection.DOWN,
            attached=Bracket(Decimal("1.0"), Decimal(2)),
            configuration={"limit_limit_gtc": {"base_size": "1", "post_only": True}},
        ),
    ),
    CreateOrder(
        account="a",
        request=order(
            2,
            None,
            twap=Twap(1, 2, Decimal("0.1"), 300),
            scaled=Scaled(3, Decimal(1), Decimal(2), Distribution.LINEAR_INCREASING),
        ),
    ),
    EditOrder(account="a", request=EditRequest(order_id="x", price=Decimal("1.50"))),
    ClosePosition(account="a", request=CloseRequest(client_order_id="c", product_id="p")),
    CancelOrders(account="a", order_ids=("x", "y")),
    Allocate(account="a", product_id="p", amount=Decimal("-1.00")),
    PauseFlow(paused=True),
    MoveIndex(coin="BTC", price=Decimal("1e5")),
    Resume(until_ns=START_NS),
    CreatePortfolio(account="a", name="b"),
    RenamePortfolio(account="a", portfolio_id="b", name="c"),
    DeletePortfolio(account="a", portfolio_id="b"),
    MoveFunds(account="a", source_id="b", target_id="c", amount=Decimal("0.10")),
    ScheduleSweep(account="a", amount=None),
    CancelSweep(account="a"),
    SetIntradayMargin(account="a", setting="s"),
    SetMultiAsset(account="a", enabled=True),
]


def test_commands_read_back_as_they_were() -> None:
    """Every kind of command is the same, to the digit, after it was written down."""
    assert set(COMMANDS) == {type(command) for command in EXAMPLES}
    for command in EXAMPLES:
        payload = encode_entry(type(command).__name__, 5, 6, encode_command(command))
        found = decode_entry(payload)
        assert (5, 6, command) == (found.now_ns, found.outcome, found.command)
        assert repr(command) == repr(found.command)


def test_what_cannot_be_written_down_is_refused(life: Life) -> None:
    """Half of a surrogate pair is the caller's fault, and changes nothing."""
    before = life.exchange.state_hash()
    with pytest.raises(Exception, match="request: cannot be kept"):
        life.tell(CancelOrders(account="alice", order_ids=("\ud800",)))
    assert before == life.exchange.state_hash()


def test_starting_anew_needs_a_confirmation(life: Life, tmp_path: Path) -> None:
    """Nobody loses a state by a slip: `--start-anew` alone says what it would do."""
    life.die()
    settings = ExchangeSettings(TOUCHSTONE_DATA_DIR=tmp_path)
    settings.state_dir.parent.mkdir()
    life.folder.rename(settings.state_dir)
    assert {"anew": True, "confirmed": False} == arguments(["--start-anew"])
    with pytest.raises(ConfigError, match=r"--start-anew: accounts, .* together with --confirm"):
        set_aside(settings, confirmed=False)
    assert snapshots.snapshots(settings.state_dir)
    assert "begins anew" in set_aside(settings, **confirmed(["--start-anew", "--confirm"]))
    assert "nothing is kept here" in set_aside(settings, confirmed=True)


def confirmed(given: list[str]) -> dict[str, bool]:
    """Return what a command line says of the confirmation."""
    return {"confirmed": arguments(given)["confirmed"]}

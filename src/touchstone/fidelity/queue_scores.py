"""Score estimators of queue position on level-only data against the exact replay of the same feed.

Orders of no size join the back of a queue: at both best quotes at regular times (the phase is drawn
by the seed), and beside real orders that come to the touch. `lob.shadow_orders` replays each of
them exactly on the market-by-order feed: what is ahead, and the message that fills it. Every
estimator of `lob.queue_estimators` follows the same orders through the level-only view of the same
feed: of each message only the lots displayed before and after at its price, and how many of the
decrease traded. Executions of displayed orders are seen, those of hidden orders as trades that were
in no depth, cancels without their place.

Three scores: whether "filled within h seconds" is right and how far the share of filled orders is
off (its bias); the error of the fill time where both say that the order was filled; and the error
of the quantity ahead while it waits, in shares of what was ahead when it joined. Our estimator has
nothing that was fitted to any market. The best of the families is known only afterwards, and is the
luckiest of many: on a market without figures known to be reached ours must not really be worse,
that is by more than two standard errors of the difference, join by join, and its bias is told in
the table. What is truth here is exact where the venue keeps price-time priority; the part on exact
queues shows whether it does.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lob import OrderBook
from lob.bounds import positive
from lob.queue_estimators import DEFAULT, FAMILIES, LevelView, QueueTracker, queue_tracker
from lob.shadow_orders import ShadowFill, ShadowOrders
from lob.types import Side
from touchstone.fidelity.evidence import (
    Cell,
    Check,
    Evidence,
    Figure,
    Series,
    Table,
    Unmeasured,
)
from touchstone.fidelity.market import Market
from touchstone.fidelity.shadow_orders import hidden_by_index, messages_of

__all__ = ["Join", "Score", "Trial", "joins_at_arrivals", "joins_at_quotes", "measure", "run_trial"]

HORIZONS_S: Final = (10.0, 60.0)
"""The seconds within which an order is filled or not."""

LOOKS_S: Final = (1.0, 10.0)
"""The seconds after joining at which the quantity ahead is compared."""

QUOTES_EVERY_S: Final = 1.0
QUOTES_MAX: Final = 7_200
"""Times at which orders join the quotes, at most: those of a longer market are further apart."""

ARRIVALS_MAX: Final = 5_000
FILLS_MIN: Final = 20
"""Orders filled within a horizon, and orders that were not or were later, that it takes to tell one
estimator from another."""

REFERENCE_RIGHT: Final = {"AAPL (AAPL_2012-06-21_34200000_37800000_": (0.998, 0.999)}
"""Shares right at the two horizons that are known to be reached, by how the market's name begins
(the hour from 9:30 on 21 June 2012, joins at the quotes)."""

BAR_BIAS: Final = 0.002
"""What the bias of our estimator may be on a market with known figures."""

_REAL: Final = 2.0
"""Standard errors by which a difference is real."""

_PROGRESS_EVERY: Final = 200_000
_SECOND_NS: Final = 1_000_000_000
_SIDES: Final = {side.sign: side for side in Side}
_SAMPLES: Final = ("quotes", "arrivals")


class Join(NamedTuple):
    """An order of no size that joins the back just before a message, at a time."""

    before_index: int
    ts_event_ns: int
    side: Side
    price_ticks: int


@dataclass(frozen=True, slots=True)
class Score:
    """One estimator's score over the joins of one market.

    `right` and `bias` (estimated minus true share of filled orders) are by horizon. `same_message`
    is the share of fills, of those both have, that came with the very same message; `time_error_s`
    their mean absolute error in seconds. `ahead_bias` and `ahead_error` are the mean and the mean
    absolute error of the quantity ahead, in shares of what was ahead at the join.
    """

    name: str
    right: tuple[float, ...]
    bias: tuple[float, ...]
    same_message: float
    time_error_s: float
    ahead_bias: float
    ahead_error: float


@dataclass(slots=True)
class Trial:
    """What became of each join: the true fill, and each estimator's; NaN where there was none.

    Times are seconds after the join. `ahead` has, of each estimator, pairs of its quantity ahead
    and the true one, both in shares of what was ahead at the join.
    """

    joins: tuple[Join, ...]
    true_s: NDArray[np.float64]
    estimated_s: dict[str, NDArray[np.float64]]
    ahead: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def true_share(self, horizon_s: float) -> float:
        """Return the share of joins that were filled within the horizon."""
        return float((self.true_s <= horizon_s).mean())

    def fills_within(self, horizon_s: float) -> int:
        """Return how many joins were filled within the horizon."""
        return int((self.true_s <= horizon_s).sum())

    def lead_error(self, name: str, other: str, horizon_s: float) -> float:
        """Return the standard error of how much more often one estimator is right than another."""
        true = self.true_s <= horizon_s
        right = [(self.estimated_s[one] <= horizon_s) == true for one in (name, other)]
        lead = right[0].astype(np.float64) - right[1]
        return float(lead.std() / np.sqrt(len(lead))) if len(lead) else 0.0

    def score(self, name: str, horizons_s: Sequence[float] = HORIZONS_S) -> Score:
        """Return the score of the estimator of this name."""
        true_s, said_s = self.true_s, self.estimated_s[name]
        within = [(said_s <= horizon, true_s <= horizon) for horizon in horizons_s]
        late = np.abs(said_s - true_s)
        late = late[np.isfinite(late)]
        ahead = np.array(self.ahead.get(name, ())).reshape(-1, 2)
        error = ahead[:, 0] - ahead[:, 1]
        return Score(
            name,
            tuple(float((said == true).mean()) for said, true in within),
            tuple(float(said.mean() - true.mean()) for said, true in within),
            float((late == 0).mean()) if len(late) else float("nan"),
            float(late.mean()) if len(late) else float("nan"),
            float(error.mean()) if len(error) else float("nan"),
            float(np.abs(error).mean()) if len(error) else float("nan"),
        )


def joins_at_quotes(
    market: Market,
    *,
    every_s: float = QUOTES_EVERY_S,
    after_s: float = HORIZONS_S[-1],
    seed: int = 0,
) -> list[Join]:
    """Return joins at both best quotes at regular times, the last `after_s` before the end.

    The first time is drawn within the first interval. Of more than 7,200 times as many are taken,
    further apart.

    Raises:
        InvalidInput: the interval is not above 0.
    """
    every_ns = int(max(positive("every_s", every_s), market.seconds / QUOTES_MAX) * _SECOND_NS)
    phase = int(np.random.default_rng(seed).integers(every_ns))
    times = np.arange(
        market.start_ns + phase, market.end_ns - int(after_s * _SECOND_NS), every_ns, dtype=np.int64
    )
    before = np.searchsorted(market.messages["ts_event_ns"], times, side="right")
    book, applied = OrderBook(market.instrument), 0
    joins: list[Join] = []
    for ts, index in zip(times.tolist(), before.tolist(), strict=True):
        book.apply(market.messages[applied:index])
        applied = index
        for side, quote in ((Side.BUY, book.best_bid()), (Side.SELL, book.best_ask())):
            if quote is not None:
                joins.append(Join(index, ts, side, quote.price_ticks))
    return joins


def joins_at_arrivals(
    market: Market, *, most: int = ARRIVALS_MAX, after_s: float = HORIZONS_S[-1]
) -> list[Join]:
    """Return joins right behind real orders that came to the touch or improved it.

    Evenly chosen where there are more than `most`.
    """
    lives = market.orders
    buys = lives["side"] > 0
    touch = np.where(buys, lives["bid_ticks"], lives["ask_ticks"])
    better = np.where(buys, lives["price_ticks"] >= touch, lives["price_ticks"] <= touch)
    chosen = np.flatnonzero(
        (better | (touch == 0))
        & ~lives["at_start"]
        & (lives["arrival_ns"] <= market.end_ns - int(after_s * _SECOND_NS))
    )
    if len(chosen) > most:
        chosen = chosen[np.linspace(0, len(chosen) - 1, most).astype(np.int64)]
    names = ("arrival_index", "arrival_ns", "side", "price_ticks")
    columns = (lives[chosen][name].tolist() for name in names)
    return [
        Join(index + 1, ts, _SIDES[sign], price)
        for index, ts, sign, price in zip(*columns, strict=True)
    ]


def run_trial(
    market: Market,
    joins: Sequence[Join],
    *,
    families: Sequence[str] = tuple(FAMILIES),
    longest_s: float = HORIZONS_S[-1],
    progress: Callable[[str], None] = lambda _: None,
) -> Trial:
    """Follow every join exactly and with each family's estimator, for `longest_s` seconds.

    The joins are in the order of their places. O(messages x families, and orders at their prices).
    """
    walk = _Walk(market, joins, families, int(longest_s * _SECOND_NS))
    walk.run(progress)
    return walk.trial


class _Walk:
    """One walk through a market; a join's id is its place among the joins."""

    def __init__(
        self, market: Market, joins: Sequence[Join], families: Sequence[str], longest_ns: int
    ) -> None:
        nothing = np.full(len(joins), np.nan)
        self.trial = Trial(
            tuple(joins),
            nothing.copy(),
            {name: nothing.copy() for name in families},
            {name: [] for name in families},
        )
        self._market = market
        self._longest_ns = longest_ns
        self._shadows = ShadowOrders()
        self._view = LevelView()
        self._trackers: dict[str, QueueTracker] = {
            name: queue_tracker(name, max_tracked_orders=len(joins) + 1) for name in families
        }
        self._joined: list[int] = []
        self._looks: tuple[deque[tuple[int, int]], ...] = tuple(deque() for _ in LOOKS_S)
        self._ends: deque[tuple[int, int]] = deque()

    def run(self, progress: Callable[[str], None]) -> None:
        """Carry out every message, and join, look and leave in between."""
        market, joins = self._market, self.trial.joins
        hidden, coming = hidden_by_index(market.hidden), 0
        for index, message in enumerate(messages_of(market.messages)):
            if index % _PROGRESS_EVERY == _PROGRESS_EVERY - 1:
                progress(f"{market.name}: queue estimators, {index + 1:,} messages done")
            while coming < len(joins) and joins[coming].before_index <= index:
                self._pass_time(joins[coming].ts_event_ns)
                self._join(coming)
                coming += 1
            ts = message[0]
            self._pass_time(ts)
            for at, side, price in hidden.get(index, ()):
                self._note(self._shadows.hidden_trade(at, side, price))
                for name, tracker in self._trackers.items():
                    self._note_estimates(name, at, tracker.on_hidden_trade(side, price))
            self._note(self._shadows.step(*message))
            for change in self._view.step(*message[1:]):
                for name, tracker in self._trackers.items():
                    filled: tuple[int, ...] = ()
                    if change.traded_lots:
                        filled = tracker.on_trade(
                            change.side, change.price_ticks, change.traded_lots
                        )
                    filled += tracker.on_depth(change.side, change.price_ticks, change.new_lots)
                    if filled:
                        self._note_estimates(name, ts, filled)

    def _join(self, join_id: int) -> None:
        join = self.trial.joins[join_id]
        stands = self._shadows.join(join_id, join.side, join.price_ticks)
        self._joined.append(stands.lots_ahead)
        for tracker in self._trackers.values():
            tracker.join(join_id, join.side, join.price_ticks)
        for looks, after_s in zip(self._looks, LOOKS_S, strict=True):
            looks.append((join.ts_event_ns + int(after_s * _SECOND_NS), join_id))
        self._ends.append((join.ts_event_ns + self._longest_ns, join_id))

    def _pass_time(self, ts: int) -> None:
        """Look at the orders, and end those, whose time has come before this."""
        for looks in self._looks:
            while looks and looks[0][0] < ts:
                self._look(looks.popleft()[1])
        while self._ends and self._ends[0][0] < ts:
            join_id = self._ends.popleft()[1]
            self._shadows.cancel(join_id)
            for tracker in self._trackers.values():
                tracker.drop(join_id)

    def _look(self, join_id: int) -> None:
        """Note what is ahead of an order that waits, by those estimators for which it waits too."""
        joined = self._joined[join_id]
        if join_id not in self._shadows or not joined:
            return
        true = self._shadows.position(join_id).lots_ahead / joined
        for name, tracker in self._trackers.items():
            if join_id in tracker:
                self.trial.ahead[name].append((tracker.estimator(join_id).ahead / joined, true))

    def _note(self, fills: tuple[ShadowFill, ...]) -> None:
        for fill in fills:
            waited_ns = fill.ts_event_ns - self.trial.joins[fill.shadow_id].ts_event_ns
            self.trial.true_s[fill.shadow_id] = waited_ns / _SECOND_NS

    def _note_estimates(self, name: str, ts: int, filled: tuple[int, ...]) -> None:
        for join_id in filled:
            waited_ns = ts - self.trial.joins[join_id].ts_event_ns
            self.trial.estimated_s[name][join_id] = waited_ns / _SECOND_NS


def measure(
    markets: Sequence[Market], *, progress: Callable[[str], None], seed: int = 0
) -> Evidence:
    """Score every family on these markets, at the quotes and at real arrivals."""
    checks: list[Check] = []
    unmeasured: list[Unmeasured] = []
    tables: list[Table] = []
    figures: list[Figure] = []
    for market in markets:
        for sample in _SAMPLES:
            progress(f"{market.name}: queue estimators, joins at {sample}")
            joins = (
                joins_at_quotes(market, seed=seed)
                if sample == "quotes"
                else joins_at_arrivals(market)
            )
            if not joins:
                why = f"none in {market.seconds:.0f} s; the last {HORIZONS_S[-1]:g} s do not count"
                unmeasured.append(Unmeasured(f"{market.name}, joins at {sample}", why))
                continue
            trial = run_trial(market, joins, progress=progress)
            scores = {name: trial.score(name) for name in FAMILIES}
            tables.append(_table(market.name, sample, trial, scores))
            made, not_made = _checks(market, sample, trial, scores)
            checks += made
            unmeasured += not_made
            figures.append(_figure(market.name, sample, scores))
    return Evidence(
        "queue-estimators",
        "Queue positions from level-only data",
        " ".join(" ".join((__doc__ or "").split("\n\n")[1:]).split()),
        tuple(checks),
        tuple(tables),
        tuple(figures),
        unmeasured=tuple(unmeasured),
    )


def _checks(
    market: Market, sample: str, trial: Trial, scores: dict[str, Score]
) -> tuple[list[Check], list[Unmeasured]]:
    """Hold our estimator against the best of the others, and what is known to be reached."""
    ours = scores[DEFAULT]
    others = [score for name, score in scores.items() if name != DEFAULT]
    known = [bars for begins, bars in REFERENCE_RIGHT.items() if market.name.startswith(begins)]
    checks: list[Check] = []
    unmeasured: list[Unmeasured] = []
    for place, horizon in enumerate(HORIZONS_S):
        what = f"{market.name}, joins at {sample}, filled within {horizon:g} s"
        fills = trial.fills_within(horizon)
        if min(fills, len(trial.joins) - fills) < FILLS_MIN:
            why = f"{fills} of {len(trial.joins)} were; needed: {FILLS_MIN} that were, and were not"
            unmeasured.append(Unmeasured(what, why))
            continue
        best = max(others, key=lambda other: (other.right[place], -abs(other.bias[place])))
        bar = best.right[place]
        if known:
            bar = max(bar, known[0][place]) if sample == _SAMPLES[0] else bar
        else:
            bar -= _REAL * trial.lead_error(DEFAULT, best.name, horizon)
        checks.append(
            Check(
                f"{what}: share right",
                ours.right[place],
                f">= {bar:.4f} (best of the families, {best.name}: {best.right[place]:.4f})",
                ours.right[place] >= bar,
            )
        )
        if known:
            bias = ours.bias[place]
            within = f"within {BAR_BIAS:.2%} (that family's: {best.bias[place]:.2%})"
            name = f"{what}: bias of the share filled"
            checks.append(Check(name, bias, within, abs(bias) <= BAR_BIAS))
    what = f"{market.name}, joins at {sample}: mean error of the fill time, s"
    errors = [other.time_error_s for other in others if np.isfinite(other.time_error_s)]
    if trial.fills_within(HORIZONS_S[-1]) < FILLS_MIN or not errors:
        fills = trial.fills_within(HORIZONS_S[-1])
        unmeasured.append(Unmeasured(what, f"{fills} fills; needed: {FILLS_MIN}"))
    else:
        bar = min(errors)
        within = f"<= {bar:.4f}, the best of the families"
        checks.append(Check(what, ours.time_error_s, within, ours.time_error_s <= bar))
    return checks, unmeasured


def _table(market: str, sample: str, trial: Trial, scores: dict[str, Score]) -> Table:
    true = " and ".join(f"{trial.true_share(h):.1%} within {h:g} s" for h in HORIZONS_S)
    columns = (
        "estimator",
        "from",
        *(f"right, {horizon:g} s" for horizon in HORIZONS_S),
        *(f"bias, {horizon:g} s" for horizon in HORIZONS_S),
        "same message",
        "time error, s",
        "ahead: bias",
        "ahead: error",
    )
    ranked = sorted(scores.values(), key=lambda score: (-sum(score.right), score.time_error_s))
    rows: list[tuple[Cell, ...]] = [
        (
            score.name,
            FAMILIES[score.name].source,
            *score.right,
            *score.bias,
            score.same_message,
            score.time_error_s,
            score.ahead_bias,
            score.ahead_error,
        )
        for score in ranked
    ]
    title = f"{market}: {len(trial.joins):,} joins at {sample}; really filled: {true}"
    return Table(title, columns, tuple(rows))


def _figure(market: str, sample: str, scores: dict[str, Score]) -> Figure:
    """Return the shares that are wrong, family by family: smaller is better."""
    ranked = sorted(scores.values(), key=lambda score: -sum(score.right))
    names = ", ".join(f"{place} {score.name}" for place, score in enumerate(ranked, 1))
    series = tuple(
        Series(
            f"within {horizon:g} s",
            tuple(float(place) for place in range(1, len(ranked) + 1)),
            tuple(1 - score.right[at] for score in ranked),
        )
        for at, horizon in enumerate(HORIZONS_S)
    )
    title = f"{market}, joins at {sample}: share of orders whose fill is told wrongly"
    return Figure(title, names, "share wrong", series, "points")

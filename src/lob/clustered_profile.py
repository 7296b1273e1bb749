"""What a clustered flow is made of: rates, excitation, laws of sizes, places and lifetimes.

A profile is plain numbers: `to_mapping` gives what YAML or JSON can say, `from_mapping` reads it
back. `lob.calibration` fits one to a market; the defaults are rounded figures of a liquid share.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from lob.errors import InvalidInput

Rows = tuple[tuple[float, ...], ...]
Law = tuple[tuple[float, float], ...]
"""Values with their shares, which sum to 1."""

SHIPPED: Final = "clustered_share.json"
"""The profile that comes along: fitted parameters, no market's messages."""

LIMIT_SOURCES: Final = 6
MARKET_SOURCES: Final = 3
CANCEL_SOURCES: Final = 6
_SUM_TOLERANCE: Final = 1e-6
_MAX_ROWS: Final = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusteredProfile:
    """Parameters of `lob.clustered_flow.ClusteredFlow`, times in seconds, prices in ticks.

    Arrivals. `limits_per_second` and `markets_per_second` come by themselves, both sides together;
    the rest is brought about by earlier events, on the time scales 1/`decays` (1/s).
    `limit_offspring[source][decay]` is the mean number of limit orders that one event brings on the
    side of bids, of sources bid, ask, cancelled bid, cancelled ask, buyer, seller (and the mirror
    image for asks); `cancel_offspring` of cancels of bids that are brought forward, of the same
    sources; `market_offspring` of market orders, of sources limit order that improves on the side
    that the present run of signs would hit, cancel, market order. The number that one event brings
    has variance over mean 1 + `burst` times the mean. A cancel is at once followed by a new order
    of its side with probability `replace_share`.

    Signs of market orders come in runs: `sign_runs` are weights and probabilities of going on
    (Lillo, Mike and Farmer, Physical Review E 71, 2005).

    Price. An anchor, which nobody sees, moves with what comes by itself (`anchor_news_ticks`, the
    deviation of one step, of stretched tails) and with what is new in the sign of a market order
    (`anchor_trade_ticks`). Orders that improve stand on the side that brings the mid to it, the
    surer the further it is away, wholly from `anchor_reach_ticks` on; a new run of signs goes
    towards it with probability `informed`.

    Places. An order improves on its own best price with probability `inside_shares[i]` where the
    spread is below `spread_edges[i]` (the last share: at or above all), by `inside_ticks[i]`; else
    it stands `behind_ticks` behind it. Where a market order brought it within milliseconds, the
    odds of improving are `inside_after_trade` times those (on the aggressor's side, on the other).

    Lives. `lives[i]` are quantiles, at `life_levels`, of the time after which an order is cancelled
    that came less than `life_edges[i]` behind its own best price. A cancel that is brought forward
    strikes, of some orders that came lately (`pull_recency` is their mean place from the last), the
    one that would have gone first; or, where a cancel or a trade brought it and the spread is below
    `chase_below`, the best one of the side that the anchor leaves, with `chase` or less.

    A share `patience` of market orders wait for an order that improves on the side they will hit,
    and take it within milliseconds; for `patience_seconds` at most.

    Sizes in lots. `limit_lots`; a market order takes exactly the best queue with probability
    `take_shares[i]` where that is below `take_edges[i]` lots, else `market_lots`, and with
    probability `sweep_share` what is beyond it too. `hidden_only` of them meet only hidden orders,
    `hidden_mixed` these first, of `hidden_lots` each and `hidden_slices` on average.
    """

    decays: tuple[float, ...] = (0.05, 0.5, 5.0, 50.0, 500.0, 5_000.0)
    limits_per_second: float = 1.1
    markets_per_second: float = 0.1
    limit_offspring: Rows = (
        (0.01, 0.01, 0.01, 0.03, 0.04, 0.07),
        (0.0, 0.0, 0.0, 0.0, 0.01, 0.01),
        (0.0, 0.03, 0.05, 0.06, 0.18, 0.15),
        (0.0, 0.0, 0.0, 0.01, 0.01, 0.06),
        (0.0, 0.0, 0.0, 0.14, 0.12, 0.6),
        (0.17, 0.0, 0.0, 0.0, 0.17, 0.17),
    )
    market_offspring: Rows = (
        (0.0, 0.0, 0.0, 0.04, 0.04, 0.05),
        (0.0, 0.0, 0.0, 0.0, 0.003, 0.001),
        (0.1, 0.11, 0.05, 0.09, 0.15, 0.2),
    )
    cancel_offspring: Rows = (
        (0.0, 0.0, 0.0, 0.0, 0.06, 0.06),
        (0.0, 0.0, 0.0, 0.02, 0.02, 0.03),
        (0.02, 0.01, 0.01, 0.03, 0.03, 0.15),
        (0.0, 0.0, 0.0, 0.01, 0.01, 0.03),
        (0.0, 0.09, 0.03, 0.0, 0.1, 0.1),
        (0.0, 0.0, 0.05, 0.1, 0.13, 0.11),
    )
    chase: float = 0.5
    chase_below: float = 25.0
    anchor_news_ticks: float = 4.0
    anchor_trade_ticks: float = 4.0
    anchor_reach_ticks: float = 8.0
    informed: float = 0.2
    pull_recency: float = 10.0
    replace_share: float = 0.09
    burst: float = 0.5
    sign_runs: tuple[tuple[float, float], ...] = ((0.5, 0.3), (0.5, 0.8))
    patience: float = 0.1
    patience_seconds: float = 5.0
    spread_edges: tuple[float, ...] = (3.0, 6.0, 10.0, 15.0, 20.0, 30.0, 45.0)
    inside_shares: tuple[float, ...] = (0.03, 0.09, 0.12, 0.12, 0.15, 0.21, 0.37, 0.61)
    inside_ticks: tuple[Law, ...] = (
        *(((1, 1.0),), ((1, 0.7), (2, 0.2), (3, 0.1)), ((1, 0.45), (2, 0.2), (3, 0.25), (5, 0.1))),
        *((((1, 0.45), (2, 0.15), (3, 0.15), (5, 0.15), (8, 0.1)),) * 2),
        *((((1, 0.4), (2, 0.1), (3, 0.15), (5, 0.15), (10, 0.15), (15, 0.05)),) * 3),
    )
    inside_after_trade: tuple[float, float] = (4.0, 3.0)
    behind_ticks: Law = ((0, 0.1), (1, 0.07), (3, 0.14), (10, 0.35), (30, 0.34))
    life_edges: tuple[float, ...] = (0.0, 2.0, 21.0)
    life_levels: tuple[float, ...] = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
    lives: Rows = ((1e-4, 2.5e-3, 4e-2, 0.37, 2.4, 11.0, 300.0),) * 4
    limit_lots: Law = ((20, 0.3), (100, 0.55), (200, 0.12), (500, 0.03))
    market_lots: Law = ((20, 0.3), (100, 0.55), (200, 0.12), (500, 0.03))
    take_edges: tuple[float, ...] = ()
    take_shares: tuple[float, ...] = (0.6,)
    sweep_share: float = 0.04
    hidden_only: float = 0.0
    hidden_mixed: float = 0.0
    hidden_slices: float = 1.0
    hidden_lots: Law = ((100, 1.0),)
    warm_up_seconds: float = 300.0

    def __post_init__(self) -> None:
        self._require_rates()
        self._require_shares_and_prices()
        self._require_places()
        for edges, shares in (("spread_edges", "inside_shares"), ("take_edges", "take_shares")):
            _require_increasing(edges, getattr(self, edges), above=0.0, at_least=0)
            _require_shares(shares, getattr(self, shares), len(getattr(self, edges)) + 1, edges)
        self._require_runs()
        self._require_lives()
        if self.branching_ratio >= 1:
            raise InvalidInput(
                f"limit_offspring, market_offspring: branching ratio {self.branching_ratio:.3g}; "
                "allowed: below 1, else the flow grows for ever"
            )

    def _require_rates(self) -> None:
        _require_increasing("decays", self.decays, above=0.0, at_least=1)
        for name in ("limits_per_second", "warm_up_seconds", "patience_seconds"):
            _require(name, getattr(self, name), above=0.0)
        _require("warm_up_seconds", self.warm_up_seconds, high=86_400.0)
        _require("markets_per_second", self.markets_per_second, low=0.0)
        _require("burst", self.burst, low=0.0, high=100.0)
        for name, sources in (
            ("limit_offspring", LIMIT_SOURCES),
            ("market_offspring", MARKET_SOURCES),
            ("cancel_offspring", CANCEL_SOURCES),
        ):
            _require_rows(name, getattr(self, name), sources, len(self.decays))

    def _require_shares_and_prices(self) -> None:
        for name in (
            *("chase", "informed", "patience", "replace_share"),
            *("sweep_share", "hidden_only", "hidden_mixed"),
        ):
            _require(name, getattr(self, name), low=0.0, high=1.0)
        if self.hidden_only + self.hidden_mixed > 1:
            found = self.hidden_only + self.hidden_mixed
            raise InvalidInput(f"hidden_mixed: {found:g} with hidden_only; allowed: at most 1")
        _require("hidden_slices", self.hidden_slices, low=1.0, high=100.0)
        _require("chase_below", self.chase_below, low=0.0)
        _require("pull_recency", self.pull_recency, low=1.0, high=1e4)
        for name in ("anchor_news_ticks", "anchor_trade_ticks"):
            _require(name, getattr(self, name), low=0.0, high=1e6)
        _require("anchor_reach_ticks", self.anchor_reach_ticks, above=0.0, high=1e6)

    def _require_places(self) -> None:
        if len(self.inside_ticks) != len(self.inside_shares):
            raise InvalidInput(
                f"inside_ticks: {len(self.inside_ticks)} laws; allowed: {len(self.inside_shares)}, "
                "as inside_shares"
            )
        for steps in self.inside_ticks:
            _require_law("inside_ticks", steps, least=1.0)
        if len(self.inside_after_trade) != 2:  # noqa: PLR2004 - own side and the other
            raise InvalidInput(f"inside_after_trade: {self.inside_after_trade}; allowed: 2 numbers")
        for odds in self.inside_after_trade:
            _require("inside_after_trade", odds, low=0.0, high=1e6)
        for name in ("limit_lots", "market_lots", "hidden_lots"):
            _require_law(name, getattr(self, name), least=1.0)
        _require_law("behind_ticks", self.behind_ticks, least=0.0)

    def _require_runs(self) -> None:
        if not self.sign_runs:
            raise InvalidInput("sign_runs: none; allowed: 1 or more pairs")
        for weight, goes_on in self.sign_runs:
            _require("sign_runs", weight, low=0.0)
            if not 0 <= goes_on < 1:
                raise InvalidInput(f"sign_runs: going on {goes_on}; allowed: from 0 and below 1")
        if not sum(weight for weight, _ in self.sign_runs) > 0:
            raise InvalidInput("sign_runs: weights of sum 0; allowed: a sum above 0")

    def _require_lives(self) -> None:
        _require_increasing("life_edges", self.life_edges, above=-math.inf, at_least=0)
        _require_increasing("life_levels", self.life_levels, above=-1e-9, at_least=2)
        if self.life_levels[0] != 0 or self.life_levels[-1] != 1:
            raise InvalidInput(f"life_levels: {self.life_levels}; allowed: from 0 to 1")
        _require_rows("lives", self.lives, len(self.life_edges) + 1, len(self.life_levels))
        for quantiles in self.lives:
            if quantiles[0] <= 0 or any(later < sooner for sooner, later in pairwise(quantiles)):
                raise InvalidInput(f"lives: {quantiles}; allowed: above 0, not decreasing")

    @property
    def branching_ratio(self) -> float:
        """Return how many further events one brings about on average, over all generations' first.

        The spectral radius of the mean offspring, where each limit order brings its own cancel.
        """
        import numpy as np  # noqa: PLC0415 - a profile is read without it elsewhere

        by_limit = np.array(self.limit_offspring).sum(axis=1)
        takes = np.array(self.market_offspring).sum(axis=1)
        own = by_limit[:4].sum() + self.replace_share
        improving = sum(self.inside_shares) / len(self.inside_shares) / 2
        # A limit order's cancel is counted with it: nearly every order is cancelled.
        matrix = [
            [own, by_limit[4] + by_limit[5]],
            [takes[0] * improving + takes[1], takes[2]],
        ]
        return float(np.abs(np.linalg.eigvals(np.array(matrix))).max())

    def to_mapping(self) -> dict[str, Any]:
        """Return plain numbers and lists that YAML and JSON can say."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain

    @classmethod
    def from_mapping(cls, document: Mapping[str, Any]) -> "ClusteredProfile":
        """Return the profile of such a mapping; keys left out keep their defaults.

        Raises:
            InvalidInput: an unknown key, or a value that is not allowed.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(map(str, document)) - known)
        if unknown:
            raise InvalidInput(f"{unknown[0]}: unknown key; allowed: {', '.join(sorted(known))}")
        try:
            return cls(**{str(name): _frozen(value) for name, value in document.items()})
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"flow profile: {error}") from error


def save_profile(profile: ClusteredProfile, path: Path) -> None:
    """Write a profile as JSON; `InvalidInput` where that cannot be done."""
    try:
        path.write_text(json.dumps(profile.to_mapping(), indent=None) + "\n", encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror or error}") from error


def load_profile(path: Path | None = None) -> ClusteredProfile:
    """Return the profile in a JSON file; without one, that of a liquid share in its first hour.

    Raises:
        InvalidInput: the file cannot be read, or does not say a profile.
    """
    source = files("lob") / SHIPPED if path is None else path
    try:
        document = json.loads(source.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{source}: {error}") from error
    if not isinstance(document, dict):
        raise InvalidInput(f"{source}: {type(document).__name__}; allowed: a mapping of keys")
    try:
        return ClusteredProfile.from_mapping(document)
    except InvalidInput as error:
        raise InvalidInput(f"{source}: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(below) for name, below in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(below) for below in value]
    number = float(value)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _frozen(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_frozen(below) for below in value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r}; allowed: numbers and lists of them")
    return float(value)


def _require(
    name: str,
    value: float,
    *,
    low: float = -math.inf,
    above: float = -math.inf,
    high: float = math.inf,
) -> None:
    if not (math.isfinite(value) and low <= value <= high and value > above):
        least = f"above {above:g}" if above > -math.inf else f"{low:g} or more"
        most = f", at most {high:g}" if high < math.inf else ""
        raise InvalidInput(f"{name}: {value!r}; allowed: {least}{most}")


def _require_increasing(
    name: str, values: tuple[float, ...], *, above: float, at_least: int
) -> None:
    before = above
    for value in values:
        if not (math.isfinite(value) and value > before):
            raise InvalidInput(f"{name}: {value!r} after {before:g}; allowed: increasing numbers")
        before = value
    if not at_least <= len(values) <= _MAX_ROWS:
        raise InvalidInput(f"{name}: {len(values)} numbers; allowed: {at_least}..{_MAX_ROWS}")


def _require_rows(name: str, rows: Rows, count: int, width: int) -> None:
    if len(rows) != count or any(len(row) != width for row in rows):
        lengths = sorted({len(row) for row in rows})
        raise InvalidInput(
            f"{name}: {len(rows)} rows of {lengths}; allowed: {count} rows of {width}"
        )
    for row in rows:
        for value in row:
            _require(name, value, low=0.0)


def _require_law(name: str, law: Law, *, least: float) -> None:
    if not 1 <= len(law) <= _MAX_ROWS or any(len(pair) != 2 for pair in law):  # noqa: PLR2004
        raise InvalidInput(f"{name}: {len(law)} entries; allowed: 1..{_MAX_ROWS} pairs")
    for value, share in law:
        _require(name, value, low=least, high=1e15)
        _require(name, share, low=0.0)
    total = sum(share for _, share in law)
    if abs(total - 1) > _SUM_TOLERANCE:
        raise InvalidInput(f"{name}: shares of sum {total!r}; allowed: 1")


def _require_shares(name: str, shares: tuple[float, ...], count: int, edges: str) -> None:
    if len(shares) != count:
        raise InvalidInput(
            f"{name}: {len(shares)} numbers; allowed: {count}, one more than {edges}"
        )
    for share in shares:
        _require(name, share, low=0.0, high=1.0)

"""Run recorded decisions under a proposed rollout: who moves, and what that changes.

An order moves where the truth table sends it to another arm than it did. What it would have come
to there is computed, not guessed: the other provider executes the recorded request with the
recorded seed, so that both fills meet the same draws. An order that stays keeps its recorded fill,
unless the proposal has another L3 configuration. The proposal is looked at on its own: that the
control state was unknown or stale, or the router latched, when a decision was recorded is counted
and left out, unless `keep_failures` says otherwise.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Context, Decimal
from typing import Any, Final

from execution_providers import ExecutionRequest, Fill
from execution_providers.slippage import plain, reference_of
from lob.errors import Fault, InvalidInput
from touchstone.rollout.assignment import Arm, RoutingConfig, Rule, assign
from touchstone.rollout.decisions import Codec, DecisionRecord, json_bytes
from touchstone.rollout.decisions_replay import Providers
from touchstone.rollout.state import BASIS_POINTS_MAX, Phase, RolloutDocument

WORST_MAX: Final = 20
NAMES_MAX: Final = 10_000
FAILURES: Final = frozenset({Rule.UNKNOWN, Rule.STALE})
_ZERO: Final = Decimal(0)
_TEN_THOUSAND: Final = Decimal(10_000)
_MONEY: Final = Decimal("0.00000001")
# Totals of whatever orders may say, which the usual 28 digits cannot hold to the last place.
_EXACT: Final = Context(prec=400)
REASONS_MAX: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What would be in force: a document, and an L3 configuration where that is another too.

    `l3_config` is the hash of one that the providers have learned. `enabled` is the master flag.
    """

    document: RolloutDocument
    l3_config: str | None = None
    enabled: bool = True
    keep_failures: bool = False


@dataclass(slots=True)
class Share:
    """Orders and their notional in quote currency."""

    orders: int = 0
    notional: Decimal = _ZERO

    def add(self, notional: Decimal) -> None:
        """Count an order."""
        self.orders += 1
        self.notional += notional

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return {"orders": self.orders, "notional": _money(self.notional)}


@dataclass(slots=True)
class Side:
    """The fills of one side of the comparison, added up."""

    filled_notional: Decimal = _ZERO
    slippage_cost: Decimal = _ZERO
    fees: Decimal = _ZERO
    fill_rates: Decimal = _ZERO
    orders: int = 0

    def add(self, fill: Fill | None, quantity: Decimal) -> None:
        """Count a fill; None is a refusal."""
        self.orders += 1
        if fill is None:
            return
        self.fill_rates += fill.filled_quantity / quantity
        self.fees += fill.fees
        self.filled_notional += _filled_notional(fill)
        self.slippage_cost += _slippage_cost(fill)

    def to_json(self) -> dict[str, Any]:
        """Return totals, the notional-weighted slippage, and the mean filled share."""
        weighed = None
        if self.filled_notional:
            weighed = float(self.slippage_cost / self.filled_notional * _TEN_THOUSAND)
        return {
            "filled_notional": _money(self.filled_notional),
            "slippage_cost": _money(self.slippage_cost),
            "slippage_bps": weighed,
            "fees": _money(self.fees),
            "fill_rate": float(self.fill_rates / self.orders) if self.orders else None,
        }


@dataclass(frozen=True, slots=True)
class Case:
    """One order whose fill would be another; costs are slippage and fees, in quote currency."""

    id: str
    symbol: str
    account: str
    side: str
    quantity: str
    moves: str
    recorded: str
    proposed: str
    cost_difference: Decimal

    def to_json(self) -> dict[str, Any]:
        """Return the case as JSON values."""
        return {
            "id": self.id,
            "symbol": self.symbol,
            "account": self.account,
            "side": self.side,
            "quantity": self.quantity,
            "moves": self.moves,
            "recorded": self.recorded,
            "proposed": self.proposed,
            "cost_difference": _money(self.cost_difference),
        }


@dataclass(slots=True)
class _Movers:
    """Who moves which way: orders and notional by name, the names bounded."""

    by_name: dict[tuple[str, str], Share] = field(default_factory=dict)
    others: Share = field(default_factory=Share)

    def add(self, name: str, way: str, notional: Decimal) -> None:
        key = (name, way)
        share = self.by_name.get(key)
        if share is None and len(self.by_name) < NAMES_MAX:
            share = self.by_name[key] = Share()
        (share or self.others).add(notional)

    def to_json(self, name_of: str) -> list[dict[str, Any]]:
        ranked = sorted(self.by_name.items(), key=lambda item: (-item[1].notional, item[0]))
        return [{name_of: name, "moves": way, **share.to_json()} for (name, way), share in ranked]


class WhatIf:
    """Take recorded decisions one by one; `to_json` says what the proposal would have done."""

    def __init__(self, codec: Codec, providers: Providers, proposal: Proposal) -> None:
        self._codec = codec
        self._providers = providers
        self._proposal = proposal
        self._all = Share()
        self._moved = Share()
        self._ways: dict[tuple[str, str, str, str], Share] = {}
        self._symbols = _Movers()
        self._accounts = _Movers()
        self._sides = {"recorded": Side(), "proposed": Side()}
        self._rerun = 0
        self._changed = 0
        self._both_filled = 0
        self._difference_bps = _ZERO
        self._worst: list[Case] = []
        self._failures = 0
        self._refusals: Counter[str] = Counter()
        self._unreadable: Counter[str] = Counter()

    def see(self, record: DecisionRecord) -> None:
        """Run one decision under the proposal; what cannot be is counted with its reason."""
        try:
            self._see(record)
        except Fault as fault:
            self._cannot(str(fault))
        except (ArithmeticError, ValueError):
            # A record that somebody changed: its request or fill says what no provider does.
            self._cannot("the recorded figures cannot be computed with")

    def _cannot(self, why: str) -> None:
        known = why in self._unreadable or len(self._unreadable) < REASONS_MAX
        self._unreadable[why if known else "other reasons"] += 1

    def to_json(self) -> dict[str, Any]:
        """Return who moves and what changes, as JSON values."""
        recorded, proposed = self._sides["recorded"], self._sides["proposed"]
        ways = [
            {"from": f"{one} by {why}", "to": f"{other} by {because}", **share.to_json()}
            for (one, why, other, because), share in sorted(
                self._ways.items(), key=lambda item: -item[1].notional
            )
        ]
        return {
            "proposal": {
                "document": self._proposal.document.to_json(),
                "enabled": self._proposal.enabled,
                "l3_config": self._proposal.l3_config,
            },
            "decisions": self._all.to_json(),
            "recorded_without_control_state": self._failures,
            "not_possible": dict(self._unreadable.most_common(WORST_MAX)),
            "moves": self._moved.to_json(),
            "ways": ways,
            "symbols": self._symbols.to_json("symbol"),
            "accounts": self._accounts.to_json("account"),
            "changes": {
                "executed_again": self._rerun,
                "fills_that_differ": self._changed,
                "l3_refusals": dict(self._refusals),
                "recorded": recorded.to_json(),
                "proposed": proposed.to_json(),
                "slippage_cost_difference": _money(proposed.slippage_cost - recorded.slippage_cost),
                "fees_difference": _money(proposed.fees - recorded.fees),
                "both_filled": self._both_filled,
                "mean_slippage_difference_bps": (
                    float(self._difference_bps / self._both_filled) if self._both_filled else None
                ),
                "worst": [case.to_json() for case in self._worst],
            },
        }

    def _see(self, record: DecisionRecord) -> None:
        request = self._codec.decode_request(record.request)
        recorded = None
        if record.fill is not None:
            recorded = self._codec.decode_fill(json_bytes(record.fill))
        notional = _notional(request, recorded)
        found = assign(record.symbol, record.account, self._config(record), record.now)
        self._all.add(notional)
        if record.latched or record.assigned_rule in FAILURES:
            self._failures += 1
        moves = found.arm.value != record.assigned_arm
        way = f"{record.assigned_arm} -> {found.arm.value}"
        if moves or found.rule.value != record.assigned_rule:
            key = (record.assigned_arm, record.assigned_rule, found.arm.value, found.rule.value)
            self._ways.setdefault(key, Share()).add(notional)
        if moves:
            self._moved.add(notional)
            self._symbols.add(record.symbol, way, notional)
            self._accounts.add(record.account or "(none)", way, notional)
        other_l3 = self._proposal.l3_config not in (None, record.l3_config)
        if moves or (found.arm is Arm.L3 and other_l3):
            self._compare(record, request, recorded, found.arm, way)

    def _config(self, record: DecisionRecord) -> RoutingConfig:
        """Return the proposal as `assign` would have seen it."""
        proposal = self._proposal
        config = RoutingConfig(
            document=proposal.document,
            generation=record.generation,
            expires_at=record.now + 1.0,
            master_flag=proposal.enabled,
        )
        if not proposal.keep_failures:
            return config
        present = self._providers.routing(record)
        document = None if present.document is None else proposal.document
        return replace(
            config,
            document=document,
            expires_at=record.expires_at,
            latched=record.latched,
            environment_allows=present.environment_allows,
        )

    def _compare(
        self,
        record: DecisionRecord,
        request: ExecutionRequest,
        recorded: Fill | None,
        arm: Arm,
        way: str,
    ) -> None:
        proposed = self._execute(record, request, arm)
        self._rerun += 1
        quantity = request.order.quantity
        self._sides["recorded"].add(recorded, quantity)
        self._sides["proposed"].add(proposed, quantity)
        if (
            recorded is not None
            and proposed is not None
            and recorded.slippage_bps is not None
            and proposed.slippage_bps is not None
        ):
            self._both_filled += 1
            self._difference_bps += proposed.slippage_bps - recorded.slippage_bps
        if _outcome(recorded) == _outcome(proposed):
            return
        self._changed += 1
        case = Case(
            id=record.id,
            symbol=record.symbol,
            account=record.account,
            side=request.order.side.value,
            quantity=plain(quantity),
            moves=way,
            recorded=_describe(recorded),
            proposed=_describe(proposed),
            cost_difference=_cost(proposed) - _cost(recorded),
        )
        self._worst.append(case)
        if len(self._worst) > 2 * WORST_MAX:
            self._rank()

    def _rank(self) -> None:
        self._worst.sort(key=lambda case: (-abs(case.cost_difference), case.id))
        del self._worst[WORST_MAX:]

    def finish(self) -> dict[str, Any]:
        """Rank the worst cases and return `to_json`."""
        self._rank()
        return self.to_json()

    def _execute(self, record: DecisionRecord, request: ExecutionRequest, arm: Arm) -> Fill | None:
        """Return the fill under the proposal: L2's where L3 refuses, as in the router."""
        if arm is Arm.L3:
            name = self._proposal.l3_config or record.l3_config or self._providers.newest_l3
            provider = self._providers.l3(name, request.asset_class)
            try:
                return provider.execute(
                    request.order, request.market, request.bar, seed=record.seed
                )
            except Fault as fault:
                self._refusals[fault.code] += 1
        provider = self._providers.l2(request.asset_class)
        try:
            return provider.execute(request.order, request.market, request.bar, seed=record.seed)
        except Fault:
            return None


def changed(base: RolloutDocument, changes: Mapping[str, Any]) -> RolloutDocument:
    """Return a document with changes, whatever the way there: a proposal may ask for any phase.

    Raises:
        InvalidInput: the result is not a right document.
    """
    body = {**base.to_json(), **changes}
    if changes.get("phase") == Phase.FULL and "basis_points" not in changes:
        body["basis_points"] = BASIS_POINTS_MAX
    try:
        return RolloutDocument.from_json(body)
    except TypeError as error:
        raise InvalidInput(f"proposal: {error}") from None


def _notional(request: ExecutionRequest, fill: Fill | None) -> Decimal:
    """Return the order's value at the price its slippage is measured against; 0 without one."""
    told = None if fill is None else fill.attribution.get("reference_price")
    if isinstance(told, str):
        return request.order.quantity * Decimal(told)
    try:
        return request.order.quantity * reference_of(request.market).price
    except InvalidInput:
        return _ZERO


def _filled_notional(fill: Fill) -> Decimal:
    return _ZERO if fill.average_price is None else fill.average_price * fill.filled_quantity


def _slippage_cost(fill: Fill) -> Decimal:
    if fill.slippage_bps is None:
        return _ZERO
    return fill.slippage_bps / _TEN_THOUSAND * _filled_notional(fill)


def _cost(fill: Fill | None) -> Decimal:
    return _ZERO if fill is None else _slippage_cost(fill) + fill.fees


def _outcome(fill: Fill | None) -> tuple[object, ...] | None:
    """Return what of a fill its owner notices: not why, and not when."""
    if fill is None:
        return None
    return fill.status, fill.filled_quantity, fill.average_price, fill.fees, fill.slippage_bps


def _describe(fill: Fill | None) -> str:
    if fill is None:
        return "refused"
    price = "" if fill.average_price is None else f" at {plain(fill.average_price)}"
    bps = "" if fill.slippage_bps is None else f", {plain(fill.slippage_bps)} bps"
    return f"{fill.status} {plain(fill.filled_quantity)}{price}{bps}, fees {plain(fill.fees)}"


def _money(amount: Decimal) -> str:
    return plain(amount.quantize(_MONEY, context=_EXACT))

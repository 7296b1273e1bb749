"""What an account has set at Coinbase's other desks: settings that are kept and move no money.

All margin rates here are the same at every hour and there is one currency, so neither the intraday
setting nor the collateral of several assets changes a requirement; an account has one balance for
cash and futures, so a sweep from the one to the other stays pending until it is cancelled.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from lob.errors import InvalidInput
from touchstone.exchange.identifiers import derived_uuid

INTRADAY: Final = "INTRADAY_MARGIN_SETTING_INTRADAY"
STANDARD: Final = "INTRADAY_MARGIN_SETTING_STANDARD"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSweep:
    """Ask for money to be moved out of the futures account; None is all there is."""

    account: str
    amount: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelSweep:
    """Cancel the sweep that is pending."""

    account: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetIntradayMargin:
    """Opt in or out of the margin rates of the day session."""

    account: str
    setting: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMultiAsset:
    """Opt in or out of collateral of several assets."""

    account: str
    enabled: bool


OptionCommand = ScheduleSweep | CancelSweep | SetIntradayMargin | SetMultiAsset


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep that was asked for and waits."""

    sweep_id: str
    amount: Decimal | None
    asked_ns: int


@dataclass(slots=True)
class Options:
    """One account's settings."""

    sweep: Sweep | None = None
    intraday: str = STANDARD
    multi_asset: bool = False


@dataclass(slots=True)
class OptionBook:
    """Keep every account's settings."""

    _options: dict[str, Options] = field(default_factory=dict)

    def of(self, account: str) -> Options:
        """Return an account's settings; those of the start where it has set nothing."""
        return self._options.get(account) or Options()

    def apply(self, command: OptionCommand, now_ns: int) -> bool:
        """Carry a command out and say whether it was possible; raises `InvalidInput`."""
        options = self._options.setdefault(command.account, Options())
        match command:
            case ScheduleSweep(account=account, amount=amount):
                if amount is not None and amount <= 0:
                    raise InvalidInput(f"usd_amount: {amount}; allowed: above 0")
                if options.sweep is not None:
                    return False
                options.sweep = Sweep(derived_uuid("sweep", account, now_ns), amount, now_ns)
            case CancelSweep():
                if options.sweep is None:
                    return False
                options.sweep = None
            case SetIntradayMargin(setting=setting):
                if setting not in (INTRADAY, STANDARD):
                    raise InvalidInput(f"setting: {setting!r:.80}; allowed: {INTRADAY}, {STANDARD}")
                options.intraday = setting
            case SetMultiAsset(enabled=enabled):
                options.multi_asset = enabled
        return True

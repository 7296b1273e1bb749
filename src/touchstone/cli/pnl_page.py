"""The profit report as a page: equity, days, symbols; nothing of it comes from elsewhere."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from html import escape
from typing import Any, Final

from touchstone.kit.ledger_entries import DailyMetrics
from touchstone.kit.pnl_report import PnlReport, SymbolFigures
from touchstone.pages import facts, figure, page, table
from touchstone.plots import Figure, Series

_DAY_NS: Final = 86_400_000_000_000
_CENT: Final = Decimal("0.01")

DAY_HEADS: Final = (
    *("day", "#equity", "#return", "#realised", "#unrealised", "#fees", "#funding paid"),
    *("#fills", "#closed", "#win rate", "#drawdown", "#Sharpe"),
)
SYMBOL_HEADS: Final = (
    *("symbol", "#position", "#entry", "#realised", "#fees", "#funding paid", "#net"),
    *("#fills", "#maker", "#volume", "#closed", "#win rate"),
)
TOTALS: Final = {
    "realized_pnl": "Realised",
    "fees": "Fees",
    "funding_paid": "Funding paid",
    "net_realized": "Net of fees and funding",
    "equity": "Equity",
    "max_drawdown": "Largest drawdown (share)",
    "sharpe": "Sharpe (yearly)",
    "fills": "Fills",
    "volume": "Volume",
    "closed_trades": "Closed trades",
    "win_rate": "Win rate (share)",
}
"""What the report sums up, and what it is called."""


def money(value: Any) -> str:
    """Return a number in few digits: cents where it is large, all that matter where it is small.

    >>> [money(v) for v in (Decimal("1234.5678"), Decimal("0.00012"), 3, None)]
    ['1234.57', '0.00012', '3', '-']
    """
    if value is None:
        return "-"
    if not isinstance(value, Decimal):
        return str(value)
    short = value.quantize(_CENT) if abs(value) >= 1 or value == 0 else round(value, 6)
    text = format(short, "f")
    return text.rstrip("0").rstrip(".") if "." in text and abs(value) < 1 else text


def percent(value: Decimal | None) -> str:
    """Return a share in percent."""
    return "-" if value is None else f"{value * 100:.2f} %"


def day_rows(days: Sequence[DailyMetrics]) -> list[tuple[str, ...]]:
    """Return the cells of each day, under `DAY_HEADS`."""
    return [
        (
            day.day,
            money(day.equity_close),
            percent(day.return_ratio),
            money(day.realized_pnl),
            money(day.unrealized_pnl),
            money(day.fees),
            money(day.funding_paid),
            str(day.trades),
            str(day.closed_trades),
            percent(day.win_rate),
            percent(day.drawdown),
            money(day.sharpe),
        )
        for day in days
    ]


def symbol_rows(symbols: Sequence[SymbolFigures]) -> list[tuple[str, ...]]:
    """Return the cells of each symbol, under `SYMBOL_HEADS`."""
    return [
        (
            one.symbol,
            format(one.quantity.normalize(), "f") if one.quantity else "0",
            money(one.average_entry_price),
            money(one.realized_pnl),
            money(one.fees),
            money(one.funding_paid),
            money(one.net_realized),
            str(one.fills),
            str(one.maker_fills),
            money(one.volume),
            str(one.closed_trades),
            percent(one.win_rate),
        )
        for one in symbols
    ]


def html_page(found: PnlReport) -> str:
    """Return the report as a self-contained page."""
    totals = found.totals
    shown = {label: money(totals[name]) for name, label in TOTALS.items()}
    sections = [f"<h1>Profit of {escape(found.bot_id)}</h1>", facts(shown)]
    if found.equity:
        sections.append(figure(_equity(found.equity)))
    sections.append(figure(_earned(found.days)))
    sections += ["<h2>Days</h2>", table(DAY_HEADS, day_rows(found.days))]
    sections += ["<h2>Symbols</h2>", table(SYMBOL_HEADS, symbol_rows(found.symbols))]
    return page(f"Profit of {found.bot_id}", sections)


def _equity(points: Sequence[tuple[int, Decimal]]) -> Figure:
    first = points[0][0]
    begin = datetime.fromtimestamp(first / 1e9, UTC)
    days = tuple((at - first) / _DAY_NS for at, _ in points)
    return Figure(
        title="Equity",
        x_label=f"days since {begin:%Y-%m-%d %H:%M} UTC, venue time",
        y_label="USD",
        series=(Series("", days, tuple(float(equity) for _, equity in points)),),
    )


def _earned(days: Sequence[DailyMetrics]) -> Figure:
    places = tuple(float(number) for number in range(1, len(days) + 1))
    net = tuple(float(day.realized_pnl - day.fees - day.funding_paid) for day in days)
    label = f"days from {days[0].day} to {days[-1].day}" if days else "days"
    title = "Realised, net of fees and funding, by day"
    return Figure(title, label, "USD", (Series("", places, net),), kind="bars")

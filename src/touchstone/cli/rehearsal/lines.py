"""The plan's command lines, word for word, and what is measured them by."""

from dataclasses import dataclass
from typing import Final

SANDBOX: Final = """\
python scripts/run_perps_bot_v2_week3.py \\
  --profile dev \\
  --symbols BTC-PERP ETH-PERP \\
  --dry-run \\
  --max-spread-bps 10 \\
  --min-depth-l1 50000 \\
  --rsi-confirm"""

DEMO: Final = """\
python scripts/run_perps_bot_v2_week3.py \\
  --profile demo \\
  --symbols BTC-PERP \\
  --order-type limit \\
  --post-only \\
  --sizing-mode conservative \\
  --max-impact-bps 10 \\
  --max-spread-bps 5 \\
  --min-depth-l10 200000 \\
  --rsi-confirm"""

CANARY: Final = """\
python scripts/run_perps_bot_v2_week3.py \\
  --profile prod \\
  --symbols BTC-PERP \\
  --order-type market \\
  --sizing-mode conservative \\
  --max-impact-bps 5 \\
  --max-spread-bps 3 \\
  --min-depth-l1 100000 \\
  --min-depth-l10 500000 \\
  --min-vol-1m 100000 \\
  --rsi-confirm \\
  --liq-buffer-pct 25 \\
  --max-slippage-bps 10"""


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase: its command line, and the limits that its criteria name."""

    name: str
    title: str
    line: str
    symbols: tuple[str, ...]
    max_spread_bps: float
    max_slippage_bps: float

    def words(self, *, without: tuple[str, ...] = ()) -> list[str]:
        """Return the flags of the line, without some of those that take no value."""
        words = self.line.replace("\\\n", " ").split()[2:]
        return [word for word in words if word not in without]


PHASES: Final = {
    phase.name: phase
    for phase in (
        Phase("sandbox", "Phase 1: sandbox rehearsal", SANDBOX, ("BTC-PERP", "ETH-PERP"), 10, 15),
        Phase("demo", "Phase 2: demo profile", DEMO, ("BTC-PERP",), 5, 15),
        Phase("canary", "Phase 3: production canary", CANARY, ("BTC-PERP",), 3, 10),
    )
}

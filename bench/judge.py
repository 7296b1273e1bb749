"""Show that the judge raises few false alarms, and how soon it finds a real difference.

    python -m bench.judge                 # tables
    python -m bench.judge --json
    python -m bench.judge --docs docs     # rewrite judge.json, judge.svg and the page's tables

2,000 A/A rollouts of 5,000 orders for each kind of noise, looked at after every minute; beside it
the z-test repeated every 50 orders. Then ten symbols at once, with a shock that is common to all of
them in a minute: blocked by minute, and as it would be by symbol-minute. Then effects of 0.1 to 2
bps under 8 bps of market noise and 1 bps of pair noise, paired and unpaired. Everything is seeded.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.judge_model import (
    COMMON,
    MARKET_NOISE_BPS,
    ORDERS_PER_BLOCK,
    PAIR_NOISE_BPS,
    SCENARIOS,
    SYMBOLS,
    Z_ONE_SIDED_05,
    Z_TWO_SIDED_05,
    Flags,
    Floats,
    first,
    judged,
    judged_minutes,
    judged_symbol_minutes,
    judged_unpaired,
    judged_without_blocks,
    repeated_z,
)
from bench.svg import Curve, Panel, draw
from touchstone.rollout.judge import JudgeConfig

SEED: Final = 20_260_802
ROLLOUTS: Final = 2_000
ORDERS: Final = 5_000
CHUNK: Final = 200
LOOK_ORDERS: Final = 50
EFFECTS_BPS: Final = (0.1, 0.2, 0.3, 0.5, 1.0, 2.0)
COMMON_EFFECT_BPS: Final = 0.3
COMMON_ORDERS: Final = 20_000
CURVE_POINTS: Final = 50
CONFIG: Final = JudgeConfig()


def false_alarms(name: str, rollouts: int, orders: int) -> dict[str, Any]:
    """Return the shares of A/A rollouts in which each test ever raises an alarm.

    `judge_at_margin` is the other error: the share promoted when the mean is exactly the margin.
    """
    rng = np.random.default_rng([SEED, *name.encode()])
    found: dict[str, list[Floats]] = {}
    for size in _chunks(rollouts):
        noise = SCENARIOS[name](rng, (size, orders // ORDERS_PER_BLOCK, ORDERS_PER_BLOCK))
        alarms: dict[str, Flags] = {
            "judge": judged(noise, CONFIG).harm(CONFIG.harm_bps),
            "judge_at_margin": judged(noise + CONFIG.margin_bps, CONFIG).no_harm(CONFIG.margin_bps),
            "judge_without_blocks": judged_without_blocks(noise, CONFIG).harm(CONFIG.harm_bps),
            "promoted": judged(noise, CONFIG).no_harm(CONFIG.margin_bps),
            "z_one_sided": repeated_z(noise, LOOK_ORDERS, Z_ONE_SIDED_05, two_sided=False),
            "z_two_sided": repeated_z(noise, LOOK_ORDERS, Z_TWO_SIDED_05, two_sided=True),
        }
        for test, flags in alarms.items():
            found.setdefault(test, []).append(first(flags))
    whole = {test: np.concatenate(parts) for test, parts in found.items()}
    looks = {"judge": ORDERS_PER_BLOCK, "z_two_sided": LOOK_ORDERS}
    return {
        "noise": name,
        "shares": {test: float(np.isfinite(when).mean()) for test, when in whole.items()},
        "curves": {
            test: _share_over_orders((whole[test] + 1) * each, orders)
            for test, each in looks.items()
        },
    }


def common_shocks(name: str, rollouts: int, orders: int) -> dict[str, Any]:
    """Return false alarms and power where all symbols of a minute share a shock.

    `minutes` to find are those after which half of the rollouts have found the effect.
    """
    rng = np.random.default_rng([SEED, *f"common {name}".encode()])
    each = SYMBOLS * ORDERS_PER_BLOCK
    found: dict[str, list[Floats]] = {}
    for size in _chunks(rollouts):
        noise = COMMON[name](rng, (size, orders // each, SYMBOLS, ORDERS_PER_BLOCK))
        worse = noise + COMMON_EFFECT_BPS
        at_margin = noise + CONFIG.margin_bps
        minutes, separate = judged_minutes, judged_symbol_minutes
        alarms: dict[str, Flags] = {
            "judge": minutes(noise, CONFIG).harm(CONFIG.harm_bps),
            "judge_at_margin": minutes(at_margin, CONFIG).no_harm(CONFIG.margin_bps),
            "by_symbol_minute": separate(noise, CONFIG).harm(CONFIG.harm_bps),
            "by_symbol_minute_at_margin": separate(at_margin, CONFIG).no_harm(CONFIG.margin_bps),
            "found": minutes(worse, CONFIG).harm(CONFIG.harm_bps),
        }
        for test, flags in alarms.items():
            found.setdefault(test, []).append(first(flags))
    whole = {test: np.concatenate(parts) for test, parts in found.items()}
    median = float(np.median(whole["found"])) + 1
    return {
        "common": name,
        "shares": {test: float(np.isfinite(when).mean()) for test, when in whole.items()},
        "minutes": int(median) if np.isfinite(median) else None,
    }


def power(effect_bps: float, rollouts: int, orders: int) -> dict[str, Any]:
    """Return the share of rollouts in which the effect is found, and the median orders needed."""
    shape_of = (orders // ORDERS_PER_BLOCK, ORDERS_PER_BLOCK)
    result: dict[str, Any] = {"effect_bps": effect_bps}
    when: dict[str, list[Floats]] = {"paired": [], "unpaired": []}
    rng = np.random.default_rng([SEED, round(effect_bps * 1_000)])
    # The unpaired clip would bite into noise of that size, so it has none.
    wide = replace(CONFIG, clip_bps=10_000.0)
    for size in _chunks(rollouts):
        shape = (size, *shape_of)
        differences = effect_bps + PAIR_NOISE_BPS * rng.normal(size=shape)
        when["paired"].append(first(judged(differences, CONFIG).harm(CONFIG.harm_bps)))
        unpaired = judged_unpaired(rng, shape, effect_bps, wide)
        when["unpaired"].append(first(unpaired.harm(CONFIG.harm_bps)))
    for design, parts in when.items():
        orders_needed = (np.concatenate(parts) + 1) * ORDERS_PER_BLOCK
        median = float(np.median(orders_needed))
        result[design] = {
            "share_found": float(np.isfinite(orders_needed).mean()),
            "median_orders": int(median) if np.isfinite(median) else None,
            "curve": _share_over_orders(orders_needed, orders),
        }
    return result


def run(rollouts: int = ROLLOUTS, orders: int = ORDERS) -> dict[str, Any]:
    """Return everything the page shows."""
    return {
        "seed": SEED,
        "numpy": np.__version__,
        "rollouts": rollouts,
        "orders": orders,
        "orders_per_block": ORDERS_PER_BLOCK,
        "look_orders": LOOK_ORDERS,
        "alpha": CONFIG.alpha,
        "margin_bps": CONFIG.margin_bps,
        "market_noise_bps": MARKET_NOISE_BPS,
        "pair_noise_bps": PAIR_NOISE_BPS,
        "false_alarms": [false_alarms(name, rollouts, orders) for name in SCENARIOS],
        "common": [common_shocks(name, rollouts, COMMON_ORDERS) for name in COMMON],
        "common_orders": COMMON_ORDERS,
        "symbols": SYMBOLS,
        "power": [power(effect, rollouts, orders) for effect in EFFECTS_BPS],
    }


def false_alarm_table(result: dict[str, Any]) -> str:
    """Return the A/A table in Markdown."""
    lines = [
        (
            "| Noise of a pair | Judge: wrong rollbacks | Judge: wrong promotions at the margin "
            "| Without blocks | z-test, one-sided | z-test, two-sided |"
        ),
        "|---|---|---|---|---|---|",
    ]
    columns = ("judge", "judge_at_margin", "judge_without_blocks", "z_one_sided", "z_two_sided")
    for row in result["false_alarms"]:
        cells = " | ".join(f"{row['shares'][column]:.1%}" for column in columns)
        lines.append(f"| {row['noise']} | {cells} |")
    return "\n".join(lines)


def common_table(result: dict[str, Any]) -> str:
    """Return the table of common shocks in Markdown."""
    lines = [
        (
            "| Common to all symbols of a minute | Judge: wrong rollbacks "
            "| Judge: wrong promotions at the margin | By symbol-minute: wrong rollbacks "
            "| By symbol-minute: wrong promotions | 0.3 bps found | Median minutes |"
        ),
        "|---|---|---|---|---|---|---|",
    ]
    columns = (
        *("judge", "judge_at_margin", "by_symbol_minute", "by_symbol_minute_at_margin"),
        "found",
    )
    for row in result["common"]:
        cells = " | ".join(f"{row['shares'][column]:.1%}" for column in columns)
        minutes = "over the whole" if row["minutes"] is None else f"{row['minutes']:,}"
        lines.append(f"| {row['common']} | {cells} | {minutes} |")
    return "\n".join(lines)


def power_table(result: dict[str, Any]) -> str:
    """Return the power table in Markdown."""
    lines = [
        (
            "| Effect | Paired: found | Paired: median orders | Unpaired: found "
            "| Unpaired: median orders |"
        ),
        "|---|---|---|---|---|",
    ]
    for row in result["power"]:
        cells = []
        for design in ("paired", "unpaired"):
            median = row[design]["median_orders"]
            cells += [
                f"{row[design]['share_found']:.1%}",
                f"{median:,}" if median is not None else f"over {result['orders']:,}",
            ]
        lines.append(f"| {row['effect_bps']:g} bps | {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(result: dict[str, Any]) -> str:
    """Return both figures as one SVG."""
    noise = next(row for row in result["false_alarms"] if row["noise"] == "independent")
    alarms = Panel(
        "A/A: share of rollouts with a false alarm so far",
        "orders",
        (
            Curve("z-test every 50 orders", tuple(noise["curves"]["z_two_sided"])),
            Curve("judge, after every block", tuple(noise["curves"]["judge"])),
            Curve("alpha", tuple([result["alpha"]] * CURVE_POINTS), dashed=True),
        ),
        float(result["orders"]),
        0.5,
    )
    found = Panel(
        "Share of rollouts in which the effect is found (dashed: unpaired)",
        "orders",
        tuple(
            Curve(
                f"{row['effect_bps']:g} bps",
                tuple(row[design]["curve"]),
                dashed=design == "unpaired",
                color=index,
            )
            for index, row in enumerate(result["power"])
            for design in ("paired", "unpaired")
        ),
        float(result["orders"]),
        1.0,
    )
    return draw((alarms, found))


def write_docs(folder: Path, result: dict[str, Any]) -> None:
    """Rewrite the page's data, figure and tables."""
    (folder / "judge.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / "judge.svg").write_text(plot(result))
    page = folder / "judge.md"
    text = page.read_text()
    for name, table in (
        ("false alarms", false_alarm_table(result)),
        ("common shocks", common_table(result)),
        ("power", power_table(result)),
    ):
        before, rest = text.split(f"<!-- {name} -->\n", 1)
        text = f"{before}<!-- {name} -->\n{table}\n<!-- end -->{rest.split('<!-- end -->', 1)[1]}"
    page.write_text(text)


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rollouts", type=int, default=ROLLOUTS)
    parser.add_argument("--orders", type=int, default=ORDERS)
    parser.add_argument("--docs", type=Path, help="folder whose judge.* files are rewritten")
    arguments = parser.parse_args()
    result = run(arguments.rollouts, arguments.orders)
    if arguments.docs is not None:
        write_docs(arguments.docs, result)
    if arguments.json:
        print(json.dumps(result))
    else:
        print(false_alarm_table(result), common_table(result), power_table(result), sep="\n\n")


def _chunks(rollouts: int) -> list[int]:
    return [min(CHUNK, rollouts - start) for start in range(0, rollouts, CHUNK)]


def _share_over_orders(orders_needed: Floats, orders: int) -> list[float]:
    """Return the share of rollouts that needed at most so many orders, on an even grid."""
    grid = np.linspace(orders / CURVE_POINTS, orders, CURVE_POINTS)
    return [round(float((orders_needed <= limit).mean()), 4) for limit in grid]


if __name__ == "__main__":
    main()

"""Hidden orders of a market: how often an aggressive order meets one, how large, how foreseeable.

`lob.hidden.HiddenLiquidityModel` learns sweep by sweep; before each it says how likely a hidden
execution is. Those forecasts, made before the fact, against always saying the share seen so far are
its goodness of fit.
"""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import numpy as np

from lob.hidden import Depth, HiddenLiquidityModel, Sweep
from lob.types import Instrument

MIN_SWEEPS: Final = 30
_WARM_UP: Final = 100


class HiddenFit(NamedTuple):
    """What sweeps say of hidden orders.

    `parameters` are the fitted model as `lob.config.HiddenLiquidityConfig` reads it. `inside_share`
    is the share of sweeps that met one better than the touch where there was room for it,
    `touch_share` of those that took a whole displayed level the share that met one at its price,
    `size_ratio` the mean hidden lots to the mean lots displayed at the touch. `share_of_lots` of
    all that traded was hidden. `brier` is that of the model's forecasts of
    "meets any", `brier_constant` that of the share so far; NaN before 100 sweeps.
    """

    sweeps: int
    hidden_sweeps: int
    share_of_lots: float
    inside_share: float
    touch_share: float
    size_ratio: float
    hidden_lots: float
    brier: float
    brier_constant: float
    parameters: dict[str, Any]


def fit_hidden(sweeps: Iterable[tuple[Sweep, Depth]], instrument: Instrument) -> HiddenFit | None:
    """Return the fit of sweeps in order of time, each with the depth just before it.

    None where there are fewer than 30, or none that met anything hidden: a feed that names no
    hidden execution says nothing of hidden orders.
    """
    model = HiddenLiquidityModel()
    seen, squares, constant = 0, [], []
    inside, room, at_touch, took_touch = 0, 0, 0, 0
    hidden_lots: list[int] = []
    touch_lots: list[int] = []
    lots = 0
    for sweep, depth in sweeps:
        if not depth.two_sided:
            continue
        hidden = [part for part in sweep.executions if part.hidden]
        meets = float(bool(hidden))
        if seen >= _WARM_UP:
            said = model.forecast(depth, sweep.aggressor, sweep.quantity_lots, sweep.ts_event_ns)
            squares.append((said.probability - meets) ** 2)
            constant.append((model.hidden_sweeps / seen - meets) ** 2)
        model.update(sweep, depth)
        seen += 1
        touch, displayed = depth.met_by(sweep.aggressor)[0]
        wide = abs(depth.bids[0][0] - depth.asks[0][0]) > 1
        room += wide
        sign = sweep.aggressor.sign
        inside += wide and any(sign * (part.price_ticks - touch) < 0 for part in hidden)
        shown = sum(
            part.quantity_lots
            for part in sweep.executions
            if not part.hidden and part.price_ticks == touch
        )
        took_touch += shown >= displayed
        at_touch += shown >= displayed and any(part.price_ticks == touch for part in hidden)
        hidden_lots += [part.quantity_lots for part in hidden]
        touch_lots.append(displayed)
        lots += sweep.quantity_lots
    if seen < MIN_SWEEPS or not hidden_lots:
        return None
    return HiddenFit(
        sweeps=seen,
        hidden_sweeps=model.hidden_sweeps,
        share_of_lots=sum(hidden_lots) / lots,
        inside_share=inside / room if room else 0.0,
        touch_share=at_touch / took_touch if took_touch else 0.0,
        size_ratio=float(np.mean(hidden_lots) / np.mean(touch_lots)),
        hidden_lots=float(np.mean(hidden_lots)),
        brier=float(np.mean(squares)) if squares else float("nan"),
        brier_constant=float(np.mean(constant)) if constant else float("nan"),
        parameters=model.to_parameters(
            tick_size=float(instrument.tick_size), lot_size=float(instrument.lot_size)
        ),
    )

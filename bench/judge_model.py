"""Simulated rollouts for the judge: noise of several kinds, and what each test makes of it.

Arrays of one symbol are (rollouts, minutes, orders of a minute), in bps; those of several symbols
are (rollouts, minutes, symbols, orders of a symbol's minute). A block is a minute. The bounds are
those the judge itself uses.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from touchstone.rollout.confidence import (
    LagSums,
    Sums,
    correlation,
    inflation,
    proven_above,
    proven_below,
)
from touchstone.rollout.experiment import unpaired_differences
from touchstone.rollout.judge import JudgeConfig

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Noise = Callable[[np.random.Generator, tuple[int, int, int]], Floats]

ORDERS_PER_BLOCK: Final = 4
SYMBOLS: Final = 10
PAIR_NOISE_BPS: Final = 1.0
MARKET_NOISE_BPS: Final = 8.0
Z_ONE_SIDED_05: Final = 1.6449
Z_TWO_SIDED_05: Final = 1.96


def independent(rng: np.random.Generator, shape: tuple[int, int, int]) -> Floats:
    """Return normal noise, each order for itself."""
    return rng.normal(size=shape)


def shared_shock(rng: np.random.Generator, shape: tuple[int, int, int]) -> Floats:
    """Return noise of which half the variance is one shock to the whole symbol-minute."""
    rollouts, blocks, _ = shape
    return float(np.sqrt(0.5)) * (rng.normal(size=shape) + rng.normal(size=(rollouts, blocks, 1)))


def autoregressive(
    rng: np.random.Generator, shape: tuple[int, int, int], coefficient: float
) -> Floats:
    """Return AR(1) noise from order to order, which also crosses the borders of the minutes."""
    rollouts, blocks, orders = shape
    steps = rng.normal(size=(blocks * orders, rollouts))
    steps[1:] *= np.sqrt(1 - coefficient**2)
    for i in range(1, len(steps)):
        steps[i] += coefficient * steps[i - 1]
    return np.ascontiguousarray(steps.T).reshape(shape)


def heavy_tailed(rng: np.random.Generator, shape: tuple[int, int, int]) -> Floats:
    """Return Student's t with three degrees of freedom, at unit variance: no fourth moment."""
    return rng.standard_t(3, size=shape) / float(np.sqrt(3))


def mostly_zero(rng: np.random.Generator, shape: tuple[int, int, int]) -> Floats:
    """Return noise that is nothing for nine orders in ten, and large for the tenth."""
    return rng.normal(size=shape) * float(np.sqrt(10)) * (rng.random(shape) < 0.1)  # noqa: PLR2004


def skewed(rng: np.random.Generator, shape: tuple[int, int, int]) -> Floats:
    """Return mean-zero noise of many small costs and rare large gains: no symmetry to lean on."""
    return 1.0 - rng.exponential(size=shape)


def rare_gain(rng: np.random.Generator, shape: tuple[int, int, int]) -> Floats:
    """Return mean-zero noise of one gain of 31.6 bps in 1,000 orders, each other costing 0.03.

    Outside what the judge assumes: until the first gain, nothing in the data tells of it.
    """
    share = 0.001
    gain = float(np.sqrt(share))
    return gain - (rng.random(shape) < share) / gain


SCENARIOS: Final[Mapping[str, Noise]] = {
    "independent": independent,
    "shared shock per symbol-minute": shared_shock,
    "AR(1), 0.5, across minutes": partial(autoregressive, coefficient=0.5),
    "AR(1), 0.8, across minutes": partial(autoregressive, coefficient=0.8),
    "heavy tails (t, 3 d.f.)": heavy_tailed,
    "mostly zero": mostly_zero,
    "skewed (exponential)": skewed,
    "outside the assumptions: 1 order in 1,000 gains 32 bps": rare_gain,
}


def common_shock(
    rng: np.random.Generator, shape: tuple[int, int, int, int], share: float, coefficient: float = 0
) -> Floats:
    """Return unit-variance noise of which `share` is one shock a minute to all symbols alike.

    Args:
        rng: the source.
        shape: rollouts, minutes, symbols, orders of a symbol's minute.
        share: the share of the variance that is common.
        coefficient: of the AR(1) process that the shocks of successive minutes are.
    """
    rollouts, minutes, _, _ = shape
    own = rng.normal(size=shape)
    shocks = autoregressive(rng, (rollouts, minutes, 1), coefficient)[..., np.newaxis]
    return float(np.sqrt(1 - share)) * own + float(np.sqrt(share)) * shocks


COMMON: Final[Mapping[str, Callable[[np.random.Generator, tuple[int, int, int, int]], Floats]]] = {
    "none": partial(common_shock, share=0.0),
    "a tenth of the variance": partial(common_shock, share=0.1),
    "half of the variance": partial(common_shock, share=0.5),
    "half, AR(1) 0.5 from minute to minute": partial(common_shock, share=0.5, coefficient=0.5),
}


class Evidence:
    """Running sums over blocks: what the judge knows after each, for many rollouts at once."""

    def __init__(
        self,
        block_means: Floats,
        config: JudgeConfig,
        mixture: float,
        *,
        allow_for_correlation: bool = True,
        lag: int = 1,
    ) -> None:
        n = np.arange(1, block_means.shape[1] + 1, dtype=np.float64)
        total = np.cumsum(block_means, axis=1)
        squares = np.cumsum(np.square(block_means), axis=1)
        before, after = block_means[:, :-lag], block_means[:, lag:]
        products, totals = np.zeros_like(total), np.zeros_like(total)
        np.cumsum(before * after, axis=1, out=products[:, lag:])
        np.cumsum(before + after, axis=1, out=totals[:, lag:])
        lags = LagSums(np.maximum(n - lag, 0), products, totals)
        correlated = correlation(n, total, squares, lags)
        factor = inflation(correlated) if allow_for_correlation else 1.0
        self.sums = Sums(n, total, squares, factor)
        self._alpha = config.alpha
        self._mixture = mixture
        self._enough = n >= config.minimum_blocks

    def harm(self, threshold_bps: float) -> Flags:
        """Return, for each block, whether harm beyond the threshold is proven there."""
        return self._enough & proven_above(
            self.sums, threshold_bps, alpha=self._alpha, mixture=self._mixture
        )

    def no_harm(self, margin_bps: float) -> Flags:
        """Return, for each block, whether the mean is proven to be below the margin there."""
        return self._enough & proven_below(
            self.sums, margin_bps, alpha=self._alpha, mixture=self._mixture
        )


def judged(differences: Floats, config: JudgeConfig) -> Evidence:
    """Return the evidence of paired differences, clipped and blocked as the judge does it."""
    within = np.clip(differences, -config.clip_bps, config.clip_bps)
    return Evidence(within.mean(axis=-1), config, config.mixture)


def judged_minutes(differences: Floats, config: JudgeConfig) -> Evidence:
    """Return the evidence of several symbols as the judge has it: a minute is one block."""
    within = np.clip(differences, -config.clip_bps, config.clip_bps)
    return Evidence(within.mean(axis=-1).mean(axis=-1), config, config.mixture)


def judged_symbol_minutes(differences: Floats, config: JudgeConfig) -> Evidence:
    """Return the evidence where each symbol's minute is wrongly taken for a block of its own."""
    within = np.clip(differences, -config.clip_bps, config.clip_bps)
    rollouts, _, symbols, _ = differences.shape
    means = within.mean(axis=-1).reshape(rollouts, -1)
    return Evidence(means, config, config.mixture, lag=symbols)


def judged_without_blocks(differences: Floats, config: JudgeConfig) -> Evidence:
    """Return the evidence of orders wrongly taken for independent: no blocks, no allowance."""
    within = np.clip(differences, -config.clip_bps, config.clip_bps)
    orders = within.reshape(len(within), -1)
    return Evidence(orders, config, config.mixture, allow_for_correlation=False)


def judged_unpaired(
    rng: np.random.Generator, shape: tuple[int, int, int], effect_bps: float, config: JudgeConfig
) -> Evidence:
    """Return the evidence when each order is executed by one arm only: the market stays in it.

    Half of a block's orders go to each arm. The mixture and the clip are scaled to the larger
    noise, so that the comparison is fair.
    """
    half = shape[2] // 2
    market = MARKET_NOISE_BPS * rng.normal(size=shape)
    candidate = market[..., half:] + effect_bps
    candidate += PAIR_NOISE_BPS * rng.normal(size=candidate.shape)
    means = unpaired_differences(market[..., :half], candidate)
    scale = 2 * (2 * MARKET_NOISE_BPS**2 + PAIR_NOISE_BPS**2) / PAIR_NOISE_BPS**2
    return Evidence(means, config, config.mixture * scale)


def repeated_z(differences: Floats, every: int, critical: float, *, two_sided: bool) -> Flags:
    """Return, for each look, whether a z-test over all orders so far rejects there.

    Args:
        differences: shape (rollouts, blocks, orders).
        every: orders between two looks.
        critical: the normal quantile, such as 1.96.
        two_sided: whether a difference to either side counts.
    """
    flat = differences.reshape(len(differences), -1)
    n = np.arange(every, flat.shape[1] + 1, every, dtype=np.float64)
    total = np.cumsum(flat, axis=1)[:, every - 1 :: every]
    squares = np.cumsum(np.square(flat), axis=1)[:, every - 1 :: every]
    deviation = np.sqrt(np.maximum(squares / n - np.square(total / n), 1e-12))
    z = total / (np.sqrt(n) * deviation)
    return np.asarray((np.abs(z) if two_sided else z) > critical)


def first(flags: Flags) -> Floats:
    """Return the position of the first True of each row, infinity where there is none."""
    return np.where(flags.any(axis=1), flags.argmax(axis=1), np.inf)

"""Draw events: thinning, exact for exponential kernels."""

import math

import numpy as np

from lob.bounds import Floats, positive, whole
from lob.errors import InvalidInput
from lob.hawkes.process import HawkesProcess

DEFAULT_MAX_EVENTS = 1_000_000


def simulate(
    process: HawkesProcess, horizon: float, seed: int, *, max_events: int = DEFAULT_MAX_EVENTS
) -> tuple[Floats, ...]:
    """Return event times on [0, horizon] in seconds, one increasing array for each component.

    Y. Ogata, "On Lewis' simulation method for point processes" (IEEE Trans. Inf. Theory 27, 1981),
    algorithm 2: between events the intensity only falls, so its present value bounds it. The past
    before 0 is empty. The same seed gives the same times. `InvalidInput` when there are more than
    `max_events`, which a process that is not stationary soon has.

    >>> times, = simulate(HawkesProcess.univariate(mu=1.0, alpha=0.5, beta=1.0), 5.0, seed=3)
    >>> bool((times >= 0).all() and (times <= 5).all())
    True
    """
    horizon = positive("horizon", horizon)
    whole("seed", seed, 0)
    whole("max_events", max_events, 1)
    rng = np.random.default_rng(seed)
    mu, alpha, beta = np.array(process.mu), np.array(process.alpha), np.array(process.beta)
    # state[i, j] is what past events of j add to the rate of i now
    state = np.zeros_like(alpha)
    events: list[list[float]] = [[] for _ in process.mu]
    now, count = 0.0, 0
    while True:
        bound = float(mu.sum() + state.sum())
        if bound <= 0:
            break
        wait = rng.exponential() / bound
        now += wait
        if not now <= horizon:
            break
        state *= np.exp(-beta * wait)
        rates = mu + state.sum(axis=1)
        drawn = rng.random() * bound
        reached = np.cumsum(rates)
        if drawn >= reached[-1]:
            continue
        component = int(np.searchsorted(reached, drawn, side="right"))
        own = events[component]
        # two draws can round to one time; events of one component are apart
        own.append(now if not own or now > own[-1] else math.nextafter(own[-1], math.inf))
        state[:, component] += alpha[:, component]
        count += 1
        if count > max_events:
            ratio = process.branching_ratio
            raise InvalidInput(
                f"max_events: more than {max_events} events by {now:.6g} s of {horizon:.6g} "
                f"(branching ratio {ratio:.3g}); allowed: a shorter horizon or a higher limit"
            )
    return tuple(np.array(own) for own in events)

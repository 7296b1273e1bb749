"""How many lots a hidden order has, learnt from what traded of it, order by order."""

import math
from collections.abc import Mapping
from random import Random
from typing import Any, Final

from lob.bounds import not_negative, positive, row, whole
from lob.errors import InvalidInput

_CLASSES: Final = 63
"""Sizes by powers of two: class k is 2^k to 2^(k+1) - 1 lots."""
_EDGES: Final = (1.0, *(2.0**place - 0.5 for place in range(1, _CLASSES + 1)))
_NONE_LEFT: Final = 1e-9


class HiddenSizes:
    """The survival curve of a hidden order's lots, P(lots > v), as a piecewise exponential one.

    In each class of sizes the rate is that of orders that ended by lots that traded there
    (occurrence by exposure; M. Friedman, Annals of Statistics 10, 1982), so that an order whose
    taker was filled first is censored: it had at least as much. Before anything was seen the mean
    is `prior_lots`; that weighs as much as `prior_weight` orders.

    >>> sizes = HiddenSizes(prior_lots=100.0)
    >>> round(sizes.expected_taken(1e9))
    100
    >>> for _ in range(1000):
    ...     sizes.add(10, ended=True)
    >>> round(sizes.expected_taken(20))
    10
    """

    __slots__ = ("_ended", "_exposure", "_rates", "prior_lots", "prior_weight")

    def __init__(self, prior_lots: float = 100.0, prior_weight: float = 2.0) -> None:
        self.prior_lots = positive("prior_lots", prior_lots)
        self.prior_weight = positive("prior_weight", prior_weight)
        self._ended = [0.0] * _CLASSES
        self._exposure = [0.0] * _CLASSES
        self._rates: list[float] | None = None

    def add(self, lots: int, *, ended: bool) -> None:
        """Note that `lots` of one hidden order traded; `ended` where that was all of it."""
        last = whole("lots", lots, 1, 2**_CLASSES - 1).bit_length() - 1
        for place in range(last):
            self._exposure[place] += _EDGES[place + 1] - _EDGES[place]
        self._exposure[last] += lots - _EDGES[last]
        self._ended[last] += ended
        self._rates = None

    def expected_taken(self, wanted: float) -> float:
        """Return E[min(lots, wanted)]: what an order for `wanted` lots gets of a hidden one."""
        wanted = not_negative("wanted", wanted)
        # The first lot is there in any order.
        taken, survival = min(wanted, 1.0), 1.0
        for place, rate in enumerate(self._known_rates()):
            width = min(wanted, _EDGES[place + 1]) - _EDGES[place]
            if width <= 0 or survival < _NONE_LEFT:
                break
            fallen = -math.expm1(-rate * width)
            taken += survival * fallen / rate
            survival *= 1 - fallen
        return taken

    def draw(self, rng: Random) -> int:
        """Return the lots of one hidden order, drawn from the curve."""
        return self.lots_of(rng.expovariate(1.0))

    def lots_of(self, exponential: float) -> int:
        """Return the lots that belong to a draw of the exponential law of mean 1."""
        left = exponential
        for place, rate in enumerate(self._known_rates()):
            width = _EDGES[place + 1] - _EDGES[place]
            if left <= rate * width:
                return max(1, round(_EDGES[place] + left / rate))
            left -= rate * width
        return int(2 ** (_CLASSES - 1))

    def to_dict(self) -> dict[str, Any]:
        """Return all that was learnt, as JSON can say it."""
        return {
            "prior_lots": self.prior_lots,
            "prior_weight": self.prior_weight,
            "ended": list(self._ended),
            "exposure": list(self._exposure),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> "HiddenSizes":
        """Return what `to_dict` gave; `InvalidInput` names what is missing or wrong."""
        try:
            found = cls(document["prior_lots"], document["prior_weight"])
            ended = row("ended", document["ended"], low=0).tolist()
            exposure = row("exposure", document["exposure"], low=0).tolist()
        except KeyError as missing:
            raise InvalidInput(f"sizes: without {missing}; allowed: what to_dict gives") from None
        for name, counts in (("ended", ended), ("exposure", exposure)):
            if len(counts) != _CLASSES:
                raise InvalidInput(f"{name}: {len(counts)} numbers; allowed: {_CLASSES}")
        found._ended, found._exposure = ended, exposure
        return found

    def _known_rates(self) -> list[float]:
        """Return the rate at which orders end, by lots traded, in each class."""
        rates = self._rates
        if rates is None:
            rates = []
            for place in range(_CLASSES):
                width = _EDGES[place + 1] - _EDGES[place]
                guessed = self.prior_weight * min(width, self.prior_lots)
                ended = self._ended[place] + guessed / max(self.prior_lots - 1, 0.5)
                rates.append(ended / (self._exposure[place] + guessed))
            # Kept once they are all there: other threads may draw from the same curve meanwhile.
            self._rates = rates
        return rates

"""How an iceberg shows itself, part by part, and what its refills say of the rest."""

import math
from dataclasses import dataclass

from lob.bounds import positive, whole
from lob.errors import InvalidInput
from lob.types import MAX_ICEBERG_PARTS


def refill_tranches(total: int, peak: int) -> list[int]:
    """Return the lots that an iceberg shows, part after part: peaks, and last what is left.

    Each part after the first joins the tail of its level. A peak above the total shows it all at
    once. No more than 10,000 parts, as in the book.

    >>> refill_tranches(total=47, peak=10)
    [10, 10, 10, 10, 7]
    """
    refills = refill_count(total, peak)
    return [peak] * refills + [total - refills * peak]


def refill_count(total: int, peak: int) -> int:
    """Return how often an iceberg is shown anew, each time losing its place: ceil(total/peak) - 1.

    >>> refill_count(total=47, peak=10)
    4
    """
    whole("total", total, 1)
    whole("peak", peak, 1)
    parts = -(-total // peak)
    if parts > MAX_ICEBERG_PARTS:
        raise InvalidInput(
            f"peak: {peak} shows {total} in {parts} parts; allowed: at most {MAX_ICEBERG_PARTS}"
        )
    return parts - 1


def lots_until_filled(total: int, peak: int, lots_ahead: int, lots_behind: int) -> list[int]:
    """Return how many lots must trade at the level before each part is wholly filled.

    `lots_ahead` and `lots_behind` are the displayed lots of others when the iceberg comes; nobody
    comes or goes later. The first refill goes behind all of them: only then do those behind cost.

    >>> lots_until_filled(total=25, peak=10, lots_ahead=3, lots_behind=8)
    [13, 31, 36]
    """
    whole("lots_ahead", lots_ahead, 0)
    whole("lots_behind", lots_behind, 0)
    traded, needed = lots_ahead, []
    for place, lots in enumerate(refill_tranches(total, peak)):
        traded += lots + (lots_behind if place == 1 else 0)
        needed.append(traded)
    return needed


@dataclass(frozen=True, slots=True)
class RefillPosterior:
    """What is left after some refills, where each part is followed by another with chance p.

    p has the prior Beta(`a`, `b`); after n refills it is Beta(a + n, b), and the number of further
    refills is beta-geometric. The default prior, Beta(1, 2), expects one refill of a new iceberg
    and n + 1 more after n: the longer it has gone on, the longer it will.

    >>> after_three = RefillPosterior(refills_seen=3)
    >>> after_three.expected_refills, round(after_three.probability(0), 4)
    (4.0, 0.3333)
    """

    refills_seen: int
    a: float = 1.0
    b: float = 2.0

    def __post_init__(self) -> None:
        whole("refills_seen", self.refills_seen, 0)
        positive("a", self.a)
        positive("b", self.b)

    @property
    def expected_refills(self) -> float:
        """Return the expected number of further refills, (a + n) / (b - 1); infinite for b <= 1."""
        return (self.a + self.refills_seen) / (self.b - 1) if self.b > 1 else math.inf

    def probability(self, further: int) -> float:
        """Return P(exactly this many further refills) = B(a + n + k, b + 1) / B(a + n, b)."""
        whole("further", further, 0)
        shape = self.a + self.refills_seen
        return math.exp(_log_beta(shape + further, self.b + 1) - _log_beta(shape, self.b))

    def at_least(self, further: int) -> float:
        """Return P(this many further refills or more) = B(a + n + k, b) / B(a + n, b)."""
        whole("further", further, 0)
        shape = self.a + self.refills_seen
        return math.exp(_log_beta(shape + further, self.b) - _log_beta(shape, self.b))

    def draw(self, chance: float, most: int = MAX_ICEBERG_PARTS - 1) -> int:
        """Return a number of further refills, at most `most`, that belongs to a uniform number.

        After k refills there is another with chance (a + k) / (a + b + k).

        >>> RefillPosterior(refills_seen=0, a=1.0, b=1.0).draw(0.4)
        1
        """
        known = self.a + self.refills_seen
        at_least, refills = 1.0, 0
        while refills < most:
            at_least *= (known + refills) / (known + self.b + refills)
            if chance >= at_least:
                break
            refills += 1
        return refills

    def expected_hidden_lots(self, display_lots: float) -> float:
        """Return the expected lots not yet shown, each further part counted whole."""
        return positive("display_lots", display_lots) * self.expected_refills


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)

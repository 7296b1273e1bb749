"""How pro-rata levels share out an aggressor's lots (rule 28)."""

from collections.abc import Sequence


def pro_rata_shares(lots: int, displayed: Sequence[int], minimum_allocation_lots: int) -> list[int]:
    """Return what each displayed order trades of `lots`, in order of time.

    With fewer lots than are displayed each gets `floor(lots * displayed / total)`, or none where
    that is below the minimum; what is left goes by time.

    >>> pro_rata_shares(10, [10, 30, 60], 2)
    [1, 3, 6]
    """
    total = sum(displayed)
    if lots >= total:
        return list(displayed)
    shares = [lots * shown // total for shown in displayed]
    shares = [share if share >= minimum_allocation_lots else 0 for share in shares]
    left = lots - sum(shares)
    for place, shown in enumerate(displayed):
        if not left:
            break
        more = min(left, shown - shares[place])
        shares[place] += more
        left -= more
    return shares

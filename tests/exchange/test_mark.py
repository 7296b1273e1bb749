"""The mark price: one odd quote or one odd print does not move it."""

from decimal import Decimal

from touchstone.exchange.mark import MARK_STEP, MarkPrice

INDEX = Decimal(100_000)


def mark_price(band: str = "0.05") -> MarkPrice:
    """Return a mark that starts at the index."""
    return MarkPrice(INDEX, INDEX, Decimal(band))


def test_it_is_the_median_of_three() -> None:
    """Index with basis, mid, last trade: the middle one counts.

    The first sample moves the basis by a sixtieth of mid less index: 30/60 and -90/60.
    """
    assert Decimal("100000.5") == mark_price().sample(INDEX, INDEX + 30, INDEX - 500)
    assert Decimal(100_030) == mark_price().sample(INDEX, INDEX + 30, INDEX + 500)
    assert Decimal("99998.5") == mark_price().sample(INDEX, INDEX - 90, INDEX + 500)


def test_what_the_book_does_not_have_is_left_to_the_index() -> None:
    """With one side empty, or no trade yet, the index decides."""
    assert INDEX == mark_price().sample(INDEX, None, INDEX + 500)
    assert INDEX == mark_price().sample(INDEX, None, None)
    assert Decimal("100000.5") == mark_price().sample(INDEX, INDEX + 30, None)


def test_a_lasting_basis_is_followed() -> None:
    """A mid that stays 60 above the index takes the fair value along within minutes."""
    price = mark_price()
    seen = [price.sample(INDEX, INDEX + 60, INDEX) for _ in range(600)]
    assert Decimal(100001) == seen[0]
    assert seen == sorted(seen)
    assert INDEX + Decimal("59.9") < seen[-1] <= INDEX + 60


def test_the_band_bounds_both() -> None:
    """Mid and last together cannot take the mark further from the index than the band."""
    assert Decimal(105_000) == mark_price().sample(INDEX, INDEX * 2, INDEX * 2)
    assert Decimal(95_000) == mark_price().sample(INDEX, Decimal(1), Decimal(1))


def test_one_quote_far_off_moves_it_by_a_sixtieth_of_the_band() -> None:
    """An ask at ten times the index in an empty book is the mid, but not the average as well."""
    price = mark_price()
    assert Decimal("100083.3333") == price.sample(INDEX, INDEX * 5, INDEX)
    assert Decimal("100165.2778") == price.sample(INDEX, INDEX * 5, INDEX)
    assert INDEX == price.sample(INDEX, INDEX, INDEX)


def test_marks_are_on_their_grid() -> None:
    """A mark is a whole number of steps and above zero."""
    price = MarkPrice(Decimal(1), Decimal(1), Decimal("0.05"))
    assert Decimal("0.3333") == price.sample(Decimal(1) / 3, None, None)
    assert MARK_STEP == price.sample(Decimal("0.0000001"), None, None)

"""Draws are the published generators', and what is native draws as plain Python does."""

from random import Random
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution_providers.l3_scene import MAX_ORDERS_PER_LEVEL, plain_split, split_lots
from execution_providers.streams import HIDDEN_LIQUIDITY, PlainStream, Stream, mixed
from lob.latency import Component, LatencyModel
from lob.latency.model import child, plain_child

SEEDS = st.integers(0, 2**64 - 1)
KEYS = st.integers(0, 2**33)


@pytest.fixture
def core() -> ModuleType:
    """Return the native extension; without it there is nothing to compare."""
    found = pytest.importorskip("lob._core")
    assert isinstance(found, ModuleType)
    return found


@pytest.mark.parametrize("kind", [PlainStream, Stream])
def test_a_stream_is_splitmix64(kind: type[PlainStream]) -> None:
    """The first numbers of seed 1234567 are those of the generator's reference code."""
    reference = (6457827717110365317, 3203168211198807973, 9817491932198370423)
    stream = kind(1234567)
    assert [(word >> 11) * 2.0**-53 for word in reference] == [stream.random() for _ in reference]


@given(seed=SEEDS, key=KEYS)
def test_native_streams_draw_what_plain_ones_do(seed: int, key: int) -> None:
    """Numbers, exponentials and streams below are the same, to the last bit."""
    plain, other = PlainStream(seed, key), Stream(seed, key)
    assert [plain.random() for _ in range(5)] == [other.random() for _ in range(5)]
    assert plain.exponential() == other.exponential()
    assert plain.below(key).random() == other.below(key).random()
    assert plain.random() == other.random()


@given(seed=SEEDS, first=st.integers(0, 50), count=st.integers(0, 60))
def test_places_that_draw_low_are_those_whose_streams_do(seed: int, first: int, count: int) -> None:
    """Both kinds list the places that a look at every stream would find."""
    found = []
    for place in range(first, first + count):
        own = PlainStream(seed, HIDDEN_LIQUIDITY).below(1 + 2 * place)
        if own.random() < 0.1 or own.random() < 0.2:
            found.append(place)
    for kind in (PlainStream, Stream):
        stream = kind(seed, HIDDEN_LIQUIDITY)
        assert found == stream.low_places(first, count, 1, 2, 0.1, 0.2)
        assert PlainStream(seed, HIDDEN_LIQUIDITY).random() == stream.random()


@given(lots=st.integers(1, 2**63 - 1), seed=st.integers(0, 2**32))
def test_a_level_is_split_alike(lots: int, seed: int) -> None:
    """Parts are the same, and as many numbers are drawn for them."""
    one, other = Random(seed), Random(seed)
    assert plain_split(lots, one.random, MAX_ORDERS_PER_LEVEL) == split_lots(lots, other)
    assert one.random() == other.random()


def test_a_level_of_nothing_is_not_split(core: ModuleType) -> None:
    """Native code refuses what has no parts, and passes on what the stream raises."""
    with pytest.raises(ValueError, match="lots: below 1"):
        core.split_lots(0, Random(1).random, 4)
    with pytest.raises(ZeroDivisionError):
        core.split_lots(5, lambda: 1 / 0, 4)


@given(seed=SEEDS, place=st.integers(0, 9))
def test_children_of_a_seed_are_numpys(seed: int, place: int) -> None:
    """Both ways to a leg's stream give what numpy's spawned child gives."""
    wanted = np.random.SeedSequence(seed, spawn_key=(place,))
    expected = np.random.Generator(np.random.PCG64(wanted)).random(3).tolist()
    for make in (child, plain_child):
        assert (
            expected == np.random.Generator(np.random.PCG64(make(seed, place))).random(3).tolist()
        )


def test_a_seed_beyond_64_bits_is_numpys_to_take() -> None:
    """Both ways leave it to numpy."""
    seed = 2**64 + 5
    expected = np.random.Generator(np.random.PCG64(plain_child(seed, 1))).random()
    assert expected == np.random.Generator(np.random.PCG64(child(seed, 1))).random()


@given(seed=SEEDS)
def test_first_draws_are_those_of_a_model_of_that_seed(seed: int) -> None:
    """Their sum is what `reseeded` draws, and the model's own streams stay where they are."""
    model = LatencyModel.profile("institutional", seed=3)
    legs = (Component.ORDER, Component.EXCHANGE)
    other = model.reseeded(seed)
    expected = sum(other.draw_ns(leg, 5, 1.5) for leg in legs)
    assert expected == model.first_draws_ns(seed, legs, 5, 1.5)
    untouched = LatencyModel.profile("institutional", seed=3)
    assert untouched.draw_ns(Component.ORDER) == model.draw_ns(Component.ORDER)


def test_mixing_depends_on_every_bit() -> None:
    """Flipping any one bit of a number flips about half of what comes of it."""
    flipped = [(mixed(77) ^ mixed(77 ^ 1 << bit)).bit_count() for bit in range(64)]
    assert 12 < min(flipped)
    assert 28 < sum(flipped) / 64 < 36

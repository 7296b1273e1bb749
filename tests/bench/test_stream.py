"""The stream that books are measured on is the same everywhere, and is what it says it is."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.book_cases import Kind, kinds, messages_of, touch_of
from bench.stream import SIZES, Stream, cached, generate, load, save, uniforms

MIX = {"add": 0.445, "delete": 0.405, "reduce_modify": 0.047, "execute": 0.103}
BOOKS = kinds()
BOOK_NAMES = [kind.name for kind in BOOKS]


def test_random_numbers_are_splitmix64() -> None:
    """The first numbers of one lane are those of the published generator."""
    # SplittableRandom's mix of 1, 2, 3 times the golden gamma, from state 0.
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    expected = [(word >> 11) * 2.0**-53 for word in published]
    assert expected == uniforms(0, 0, 0, 3).tolist()


def test_random_numbers_do_not_depend_on_how_they_are_cut() -> None:
    """Numbers drawn in two parts are those drawn in one."""
    whole = uniforms(7, 3, 0, 1_000)
    parts = np.concatenate([uniforms(7, 3, 0, 321), uniforms(7, 3, 321, 679)])
    assert whole.tolist() == parts.tolist()


def test_stream_has_known_bytes(stream: Stream) -> None:
    """The same seed gives the same bytes on every machine, whichever books are there."""
    assert stream.checksum() == "422f46e43c71accfaf7bf62c5fb12b44"


def test_another_seed_gives_another_stream(stream: Stream) -> None:
    """The seed decides."""
    other = generate(stream.size, 20_000, seed=stream.seed + 1)
    assert other.checksum() != stream.checksum()


def test_a_shorter_stream_is_a_prefix(stream: Stream) -> None:
    """Fewer commands are the first of more."""
    shorter = generate(stream.size, 5_000)
    for name, column in shorter.commands.items():
        assert column.tolist() == stream.commands[name][: len(column)].tolist()


def test_mix_is_the_stated_one(stream: Stream) -> None:
    """Adds, deletes, changes and executions have their shares, within half a percent."""
    assert pytest.approx(MIX, abs=0.005) == stream.mix()


def test_live_orders_stay_at_the_target(stream: Stream) -> None:
    """The book neither empties nor grows."""
    assert pytest.approx(SIZES["2k"].live_orders, rel=0.03) == stream.live_orders


@pytest.mark.parametrize("kind", BOOKS, ids=BOOK_NAMES)
@pytest.mark.parametrize("table", ["commands", "feed"])
def test_our_books_come_to_the_streams_end(stream: Stream, kind: Kind, table: str) -> None:
    """Commands and feed lead each of our books to the touch and orders of the stream's own."""
    rows = stream.commands if table == "commands" else stream.feed
    book = kind.book()
    book.apply(messages_of(rows))
    assert len(book.last_apply.refusals) == 0
    assert stream.touch == touch_of(book)
    assert stream.live_orders == len(book)


@pytest.mark.parametrize("kind", BOOKS, ids=BOOK_NAMES)
def test_commands_cause_the_feeds_executions(stream: Stream, kind: Kind) -> None:
    """The trades of the commands are the executions of the feed, one by one."""
    matched = kind.book().apply(messages_of(stream.commands))
    reported = kind.book().apply(messages_of(stream.feed))
    for name in ("maker_order_id", "price_ticks", "quantity_lots"):
        assert reported[name].tolist() == matched[name].tolist()


def test_file_keeps_the_stream(stream: Stream, tmp_path: Path) -> None:
    """What is read is what was written."""
    kept = replace(stream, path=tmp_path / "stream.npz")
    save(kept)
    found = load(kept.path)
    assert stream.checksum() == found.checksum()
    assert (stream.touch, stream.prelude, stream.live_orders, stream.levels) == (
        found.touch,
        found.prelude,
        found.live_orders,
        found.levels,
    )


def test_damaged_file_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cached file that is cut short, or holds other bytes, is not believed."""
    first = cached(tmp_path, SIZES["2k"], 500)
    whole = first.path.read_bytes()
    first.path.write_bytes(whole[: len(whole) // 2])
    assert first.checksum() == cached(tmp_path, SIZES["2k"], 500).checksum()
    right = first.checksum()
    swapped = replace(first, feed={**first.feed, "price_ticks": first.feed["price_ticks"] + 1})
    with monkeypatch.context() as patch:
        patch.setattr(Stream, "checksum", lambda _stream: right)
        save(swapped)
    with pytest.raises(ValueError, match="checksum"):
        load(first.path)
    assert first.checksum() == cached(tmp_path, SIZES["2k"], 500).checksum()

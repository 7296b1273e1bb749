"""The market of a running venue: an index that jumps, and a file instead of a flow."""

from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from lob.errors import ConfigError
from tests.exchange.test_market_files import written
from tests.services.paper_exchange import BIP, running_exchange, wait_until

BTC = "BTC-PERP-INTX"


def test_an_index_jumps_and_the_books_follow(tmp_path: Path) -> None:
    """What is no price or no coin is refused."""
    with running_exchange(tmp_path) as venue:
        url = f"http://{venue.host}/admin"
        moved = httpx.post(f"{url}/index", json={"coin": "BTC", "price": "102000"}, timeout=5)
        assert 102_000 == pytest.approx(float(moved.json()["indices"]["BTC"]), rel=1e-3)
        httpx.post(f"{url}/clock", json={"speed": 50}, timeout=5)

        market = venue.components.venue.exchange.markets[BIP]
        wait_until(lambda: (market.mid() or 0) > 101_500)
        for body, status in (
            ({"coin": "DOGE", "price": "1"}, 404),
            ({"coin": "BTC", "price": "-1"}, 400),
            ({"coin": "BTC", "price": "NaN"}, 400),
            ({"coin": "BTC"}, 400),
        ):
            assert status == httpx.post(f"{url}/index", json=body, timeout=5).status_code


def test_a_file_is_a_products_market(tmp_path: Path) -> None:
    """Its orders are in the book; after its end the state says so."""
    path = written(tmp_path / "orders.npy")
    with running_exchange(tmp_path, flow_files={BTC: path}, flow_speed=10) as venue:
        url = f"http://{venue.host}/admin/state"
        market = httpx.get(url, timeout=5).json()["markets"][BTC]
        assert "file (arrays)" == market["background"]
        wait_until(lambda: httpx.get(url, timeout=5).json()["markets"][BTC]["standstill"] != "")
        state = httpx.get(url, timeout=5).json()
        assert "the file has ended" == state["markets"][BTC]["standstill"]
        assert "" == state["markets"][BIP]["standstill"]
        bids, _ = venue.components.venue.exchange.markets[BTC].levels(5)
        assert [Decimal("59990.0")] == [level.price for level in bids]


def test_a_restarted_venue_goes_on_where_it_was_in_the_file(tmp_path: Path) -> None:
    """Each message happens once, whichever of the two runs it falls into."""
    options = {"flow_files": {BTC: written(tmp_path / "orders.npy")}}
    with running_exchange(tmp_path, **options) as venue:
        market = venue.components.venue.exchange.markets[BTC]
        wait_until(lambda: market.flow_commands >= 1)
    before = market.flow_commands
    with running_exchange(tmp_path, flow_speed=20, **options) as venue:
        again = venue.components.venue.exchange.markets[BTC]
        assert before <= again.flow_commands
        wait_until(lambda: again.standstill != "")
        assert 6 == again.flow_commands
        assert [20, 30] == [trade.lots for trade in again.tape]
    (tmp_path / "orders.npy").unlink()
    with (
        pytest.raises(ConfigError, match=r"flow file of BTC-PERP-INTX: .*No such file"),
        running_exchange(tmp_path, **options),
    ):
        pass


def test_a_file_that_does_not_fit_stops_the_start(tmp_path: Path) -> None:
    """With the name of the product and what is wrong."""
    missing = {BTC: tmp_path / "none.npy"}
    with (
        pytest.raises(ConfigError, match=r"flow file of BTC-PERP-INTX: .*No such file"),
        running_exchange(tmp_path, flow_files=missing),
    ):
        pass

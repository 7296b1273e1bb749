"""The network between gateway and venue: requests and feed messages, and what becomes of them.

A request that has left belongs to the world: it arrives at the venue, or not, whether or not the
process that sent it still lives.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from services.order_gateway.venues.base import GateClosed, NotSent, OutcomeUnknown, Passage
from services.order_gateway.venues.websocket import FeedBroken, Frame
from services.order_gateway.venues.wire import Answer
from services.paper_exchange.connection import Connection
from tests.simulation.loop import World
from tests.simulation.venue import Answer as VenueAnswer
from tests.simulation.venue import SimulatedVenue

HOST: Final = "venue.simulated"
GONE: Final = None


@dataclass
class Weather:
    """How the network behaves now. Chances are per request or message; latencies in seconds."""

    latency_seconds: tuple[float, float] = (0.0005, 0.01)
    not_sent: float = 0.0
    """No connection to be had."""
    request_lost: float = 0.0
    """Written, and it never arrives."""
    request_late: float = 0.0
    """Written, and it arrives long after the sender has given up."""
    late_seconds: tuple[float, float] = (0.5, 6.0)
    request_twice: float = 0.0
    """It arrives twice: a proxy on the way tries again."""
    answer_lost: float = 0.0
    answer_late: float = 0.0
    feed_drop: float = 0.0
    feed_repeat: float = 0.0
    feed_swap: float = 0.0
    feed_garbage: float = 0.0
    feed_cut: float = 0.0
    feed_late: float = 0.0


@dataclass(frozen=True, slots=True)
class Written:
    """One request as it left."""

    at: float
    method: str
    target: str
    body: bytes


@dataclass
class Network:
    """Carry requests to the venue and answers back, and the feed's messages."""

    world: World
    venue: SimulatedVenue
    rng: random.Random
    weather: Weather = field(default_factory=Weather)
    written: list[Written] = field(default_factory=list)
    turned_away: list[Written] = field(default_factory=list)
    """What the venue certainly did not look at, and the gateway knows it: its own 429."""
    doubled: list[Written] = field(default_factory=list)
    """What reached the venue a second time, with nobody to hear the second answer."""
    feeds: list["FeedChannel"] = field(default_factory=list)
    on_written: Callable[[Written], None] = lambda _written: None

    def latency(self) -> float:
        """Return how long one way takes."""
        return self.rng.uniform(*self.weather.latency_seconds)

    def carry(self, written: Written, headers: Sequence[tuple[str, str]],
              back: Callable[[VenueAnswer | None], None]) -> None:  # fmt: skip
        """Send a request on its way; `back` is called with the answer, or None for a reset."""
        self.written.append(written)
        self.on_written(written)
        weather, rng, world = self.weather, self.rng, self.world
        if rng.random() < weather.request_lost:
            if rng.random() < 0.5:
                world.after(self.latency(), back, GONE)
            return
        delay = self.latency()
        if rng.random() < weather.request_late:
            delay += rng.uniform(*weather.late_seconds)
        given = dict(headers)

        def arrive(*, first: bool = True) -> None:
            if self.venue.mood.down and rng.random() < 0.5:
                back(GONE)
                return
            answer = self.venue.answer(written.method, written.target, given, written.body)
            if not first:
                return
            if rng.random() < weather.answer_lost:
                if rng.random() < 0.5:
                    world.after(self.latency(), back, GONE)
                return
            late = rng.random() < weather.answer_late
            world.after(self.latency() + (rng.uniform(0.5, 3.0) if late else 0), back, answer)

        world.after(delay, arrive)
        if rng.random() < weather.request_twice:
            self.doubled.append(written)
            world.after(delay + rng.uniform(0, 1.0), lambda: arrive(first=False))

    def cut_feeds(self) -> None:
        """Break every connection of the feed."""
        for channel in list(self.feeds):
            channel.cut("connection reset")


class SimulatedWire:
    """Implements `Wire` for one process; once that is dead, nothing leaves any more."""

    host = HOST

    def __init__(self, network: Network) -> None:
        self.alive = True
        self.crash_at_write: int | None = None
        self.on_crash: Callable[[], None] = lambda: None
        self._network = network
        self._writes = 0

    async def request(
        self,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        *,
        deadline_seconds: float,
        passage: Passage | None = None,
        urgent: bool = False,  # noqa: ARG002 - the protocol's signature
    ) -> Answer:
        """Send one request; see `Wire.request`."""
        network, rng, loop = self._network, self._network.rng, asyncio.get_running_loop()
        deadline = loop.time() + deadline_seconds
        if rng.random() < 0.3:
            # A connection has to be opened, or waited for.
            await asyncio.sleep(network.latency())
        if network.venue.mood.down or rng.random() < network.weather.not_sent:
            raise NotSent(f"{method} {target}: not sent: connection refused")
        refusal = None if passage is None else passage()
        if refusal is not None:
            raise GateClosed(refusal)
        answered: asyncio.Future[VenueAnswer | None] = loop.create_future()
        self._write(Written(network.world.now, method, target, body), headers, answered)
        if passage is not None:
            loop.call_soon(passage.handed_over)
        try:
            async with asyncio.timeout_at(deadline):
                answer = await answered
        except TimeoutError:
            raise OutcomeUnknown(f"{method} {target}: no answer in time") from None
        if answer is None:
            raise OutcomeUnknown(f"{method} {target}: connection reset")
        return Answer(answer.status, dict(answer.headers), answer.body)

    def _write(
        self,
        written: Written,
        headers: Sequence[tuple[str, str]],
        answered: "asyncio.Future[VenueAnswer | None]",
    ) -> None:
        if not self.alive:
            return
        self._writes += 1
        last = self._writes == self.crash_at_write
        if last and self._network.rng.random() < 0.3:
            self.on_crash()
            return

        def back(answer: VenueAnswer | None) -> None:
            if self.alive and not answered.done():
                if answer is not None and b"rate_limit_exceeded" in answer.body:
                    self._network.turned_away.append(written)
                answered.set_result(answer)

        self._network.carry(written, headers, back)
        if last:
            self.on_crash()

    async def close(self) -> None:
        """Nothing to close."""


class FeedChannel:
    """One connection of the feed: `Frames` to the venue, `FeedConnection` to the gateway."""

    def __init__(self, network: Network, wire: SimulatedWire) -> None:
        self._network = network
        self._wire = wire
        self._arrived: list[Frame] = []
        self._wake: asyncio.Event = asyncio.Event()
        self._broken = ""
        self._last_at = 0.0
        self._up_at = 0.0
        self._connection: Connection | None = None
        network.feeds.append(self)

    def connect(self) -> None:
        """Open it at the venue."""
        self._connection = self._network.venue.open_feed(self)

    # ---------------------------------------------------------------- the venue's side

    def send(self, *pieces: bytes) -> None:
        """Have a message on its way to the gateway, in order unless the weather says otherwise."""
        network, weather = self._network, self._network.weather
        rng, payload = network.rng, b"".join(pieces)
        if self._broken:
            return
        act = self._fate(weather, rng.random())
        if act == "drop":
            return
        if act == "cut":
            network.world.after(network.latency(), self.cut, "connection reset")
            return
        if act == "garbage":
            payload = payload[: len(payload) // 2]
        at = max(self._last_at, network.world.now + network.latency())
        at += rng.uniform(0.5, 8.0) if act == "late" else 0.0
        if act != "swap":
            self._last_at = at
        else:
            at += 0.05
        for _ in range(2 if act == "repeat" else 1):
            network.world.after(at - network.world.now, self._arrive, payload)

    @staticmethod
    def _fate(weather: Weather, roll: float) -> str:
        """Return what becomes of a message; '' for nothing odd."""
        for chance, act in (
            (weather.feed_drop, "drop"),
            (weather.feed_cut, "cut"),
            (weather.feed_repeat, "repeat"),
            (weather.feed_swap, "swap"),
            (weather.feed_garbage, "garbage"),
            (weather.feed_late, "late"),
        ):
            if roll < chance:
                return act
            roll -= chance
        return ""

    def waiting_bytes(self) -> int:
        """Return 0: the network takes everything."""
        return 0

    def abort(self) -> None:
        """End the connection."""
        self.cut("aborted")

    # ---------------------------------------------------------------- the gateway's side

    async def send_text(self, text: str) -> None:
        """Send a message to the venue."""
        if self._broken:
            raise FeedBroken(f"venue feed: {self._broken}")
        world = self._network.world
        self._up_at = max(self._up_at, world.now + self._network.latency())
        world.after(self._up_at - world.now, self._deliver, text)

    async def receive(self) -> Sequence[Frame]:
        """Return what has arrived, at least one message."""
        while not self._arrived:
            if self._broken:
                raise FeedBroken(f"venue feed: {self._broken}")
            self._wake.clear()
            await self._wake.wait()
        found, self._arrived = self._arrived, []
        return found

    async def close(self) -> None:
        """Close the connection."""
        self.cut("closed")

    def cut(self, why: str) -> None:
        """Break the connection; both sides notice."""
        if self in self._network.feeds:
            self._network.feeds.remove(self)
        if self._connection is not None:
            self._network.venue.feed.close(self._connection)
            self._connection = None
        if not self._broken:
            self._broken = why
            if self._wire.alive:
                self._wake.set()

    def _arrive(self, payload: bytes) -> None:
        if self._wire.alive and not self._broken:
            self._arrived.append(Frame(self._network.world.now, payload))
            self._wake.set()

    def _deliver(self, text: str) -> None:
        if self._connection is not None and not self._network.venue.mood.down:
            self._network.venue.bring_up()
            self._network.venue.feed.receive(self._connection, text)
            if self._connection is not None and self._connection.ended.is_set():
                self.cut(self._connection.end_reason)


class _Client:
    """What `CoinbaseFeed` holds: `send` there is from the gateway, in `FeedChannel` to it."""

    def __init__(self, channel: FeedChannel) -> None:
        self._channel = channel
        self.receive = channel.receive
        self.close = channel.close

    async def send(self, text: str) -> None:
        """Send a message to the venue."""
        await self._channel.send_text(text)


def connector(network: Network, wire: SimulatedWire) -> Callable[[str], Any]:
    """Return what `CoinbaseFeed` connects with."""

    async def connect(_url: str) -> _Client:
        await asyncio.sleep(network.latency())
        if network.venue.mood.down or network.rng.random() < network.weather.not_sent:
            raise OSError("connection refused")
        channel = FeedChannel(network, wire)
        channel.connect()
        return _Client(channel)

    return connect

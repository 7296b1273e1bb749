"""The control state of the rollout for threads: a control reader on an event loop of its own."""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

from lob.errors import InvalidInput
from touchstone.kit.control import ROLLOUT_SCOPE, ControlReader, ControlRecord, ControlStore
from touchstone.kit.leases import LEASE_SECONDS, Lease
from touchstone.kit.membership import Membership, member_name
from touchstone.openfeature.switches import Switches
from touchstone.rollout.assignment import RoutingConfig
from touchstone.rollout.state import RolloutDocument

TICK_SECONDS: Final = 0.05
JOIN_SECONDS: Final = 5.0
_NOTHING_KNOWN: Final = RoutingConfig(document=None)

_log = structlog.get_logger("touchstone.openfeature")


class BackgroundControl:
    """Keep the rollout's state up to date in a thread; any thread asks it without waiting.

    It is a member of the rollout like a router: whoever rolls back waits for its acknowledgement,
    after which nothing here says L3, and a lease of half a second ends by itself where Redis is out
    of reach. A process that forks has to start its own after the fork: nobody acknowledges for
    what the child copied, so there nothing is known.

    Args:
        redis_url: where the control state is.
        switches: the master switches now; asked with each question, and must not wait.
        on_change: called from the thread after each change, with whether the state is fresh, and
            whether the record is another one; it must not block.
        monotonic: seconds of this process's clock.
    """

    def __init__(
        self,
        redis_url: str,
        switches: Callable[[], Switches],
        on_change: Callable[[bool, bool], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        # Found wrong here and not in the thread.
        self._store = ControlStore(redis_url)
        self._switches = switches
        self._on_change = on_change
        self._monotonic = monotonic
        self._reader: ControlReader | None = None
        self._document: tuple[ControlRecord, RolloutDocument | None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._looked = threading.Event()
        self._thread: threading.Thread | None = None
        self._process = os.getpid()

    def now(self) -> float:
        """Return the time on the clock of `RoutingConfig.expires_at`."""
        return self._monotonic()

    def start(self, wait_seconds: float) -> bool:
        """Start, wait until the first look or `wait_seconds`, and return whether it is known."""
        self._thread = threading.Thread(target=self._run, name="touchstone flags", daemon=True)
        self._thread.start()
        self._looked.wait(wait_seconds)
        return self.fresh()

    def close(self) -> None:
        """Give the lease back and end the thread; from now on nothing is known."""
        thread, self._thread = self._thread, None
        if thread is None or os.getpid() != self._process:  # the parent's, and its to end
            return
        self._looked.wait(JOIN_SECONDS)
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)
        if thread is not threading.current_thread():
            thread.join(JOIN_SECONDS)
        self._reader = None

    def routing(self) -> RoutingConfig:
        """Return what is permitted now, as a router does; never waits, for any thread."""
        reader = self._reader
        if reader is None or os.getpid() != self._process:
            return _NOTHING_KNOWN
        view, switches = reader.view(), self._switches()
        document = self._parse(view.record) if view.known and view.record is not None else None
        left = min(LEASE_SECONDS - view.age_seconds, view.lease_seconds_left)
        return RoutingConfig(
            document=document,
            generation=0 if view.record is None else view.record.generation,
            expires_at=self._monotonic() + left,
            environment_allows=switches.environment_allows,
            master_flag=switches.master_flag,
        )

    def fresh(self) -> bool:
        """Return whether the state is known and not too old."""
        config = self.routing()
        return config.document is not None and self._monotonic() < config.expires_at

    def _parse(self, record: ControlRecord) -> RolloutDocument | None:
        kept = self._document
        if kept is not None and kept[0] is record:
            return kept[1]
        document: RolloutDocument | None = None
        try:
            document = RolloutDocument.from_json(record.document)
            if document.phase != record.state:
                document = None
        except (InvalidInput, TypeError) as error:
            _log.warning("rollout_document_wrong", error=str(error))
        self._document = (record, document)
        return document

    def _run(self) -> None:
        try:
            asyncio.run(self._follow())
        except Exception:  # noqa: BLE001 - logged; what is asked is answered as unknown
            _log.exception("flags_stopped")
        finally:
            self._reader = None
            self._looked.set()

    async def _follow(self) -> None:
        self._loop = asyncio.get_running_loop()
        membership = Membership(member_name("flags"), lease=Lease(monotonic=self._monotonic))
        async with self._store as store:
            reader = ControlReader(
                store, ROLLOUT_SCOPE, membership=membership, monotonic=self._monotonic
            )
            await reader.refresh()
            # Once more: the first look finds the generation, the second acknowledges it.
            await reader.refresh()
            self._reader = reader
            self._looked.set()
            async with reader:
                await self._tell_changes()

    async def _tell_changes(self) -> None:
        # Who started this says that it is ready; what is told begins after that.
        told = self.routing().generation, True
        while not await self._stopped_within(TICK_SECONDS):
            state = self.routing().generation, self.fresh()
            if state != told:
                self._tell(state[1], changed=state[0] != told[0])
                told = state

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return False
        return True

    def _tell(self, fresh: bool, *, changed: bool) -> None:
        try:
            self._on_change(fresh, changed)
        except Exception:  # noqa: BLE001 - logged; a listener must not end the reader
            _log.exception("flags_listener_failed")

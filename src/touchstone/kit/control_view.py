"""What one process knows of one control record: the view that every check reads, and its rules.

Permission expires, prohibition never does: a record that is lost, lower than one seen before, or
of the same generation with another content makes the view unknown until a higher one is written.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

import structlog

from lob.errors import Fault
from touchstone.kit.control_store import ControlRecord, UnreadableRecord
from touchstone.kit.membership import Membership

_log = structlog.get_logger("touchstone.control")


class ViewStatus(StrEnum):
    """What the last answer of Redis amounted to; only KNOWN permits anything."""

    KNOWN = "KNOWN"
    NEVER_READ = "NEVER_READ"
    MISSING = "MISSING"
    REGRESSED = "REGRESSED"
    UNREADABLE = "UNREADABLE"


@dataclass(frozen=True, slots=True)
class ControlView:
    """What a reader knows at this instant.

    `record` is the newest good record ever seen, even when `known` is false. `age_seconds` counts
    from before the last answered read was sent, infinite when there was none; the caller's own
    limit decides what is stale. `lease_seconds_left` is 0 where this member's lease has lapsed,
    which closes it to new risk, and infinite for a reader that is no member. `why` is one line,
    empty when all is well.
    """

    record: ControlRecord | None
    age_seconds: float
    known: bool
    why: str
    status: ViewStatus = ViewStatus.NEVER_READ
    lease_seconds_left: float = float("inf")


class ScopeTrack:
    """One scope as this process sees it: what was read last, and what it has yet to acknowledge.

    Whoever reads tells it what came (`on_answer`, `on_ring`, `on_unreadable`, `on_fault`); it never
    waits but in `apply_present`.
    """

    def __init__(
        self,
        scope: str,
        *,
        floor_generation: int = 0,
        membership: Membership | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.scope = scope
        self.membership = membership
        self.seen_generation = floor_generation
        self._monotonic = monotonic
        self._on_change = on_change
        self._answered_at: float | None = None
        self._view = ControlView(None, float("inf"), known=False, why="never read")

    def view(self, *, stopped: bool = False) -> ControlView:
        """Return what is known now; never waits."""
        age = float("inf") if self._answered_at is None else self._monotonic() - self._answered_at
        lease = self.membership.lease.seconds_left() if self.membership else float("inf")
        found = self._view
        why = "the reader is stopped" if stopped else found.why
        # Not by `replace`, which takes twice as long: every order asks.
        return ControlView(found.record, age, found.known, why, found.status, lease)

    def to_apply(self) -> ControlRecord | None:
        """Return the record that this member has yet to acknowledge."""
        record = self._view.record
        if self.membership is None or record is None or not self._view.known:
            return None
        return None if record.generation == self.membership.applied_generation else record

    async def apply_present(self) -> bool:
        """Make way for an acknowledgement; return whether nothing stands in its way."""
        record = self.to_apply()
        if record is None or self.membership is None:
            return True
        try:
            await self.membership.apply(record)
        except (Fault, TimeoutError) as error:
            why = str(error) or "a send or its record is still under way"
            _log.warning(
                "not_acknowledged", scope=self.scope, generation=record.generation, why=why
            )
            return False
        return True

    def on_answer(
        self, record: ControlRecord | None, sent_at: float, seen_before: int, *, granted: bool
    ) -> None:
        """Take what a read brought that was sent at `sent_at`, when `seen_before` was the highest.

        `granted` says that this member's lease is renewed.
        """
        if record is not None and seen_before <= record.generation < self.seen_generation:
            # Answered before the doorbell brought a newer one: neither news nor a step back.
            return
        self._answered_at = sent_at
        last, seen = self._view.record, self.seen_generation
        status, why = ViewStatus.KNOWN, ""
        if record is None:
            status, why = ViewStatus.MISSING, f"no record in Redis (generation {seen} was seen)"
        elif record.generation < seen:
            why = f"generation {record.generation} in Redis is below {seen}, which was seen"
            status = ViewStatus.REGRESSED
        elif last is not None and record.generation == last.generation and record != last:
            why = f"generation {seen} in Redis is not the one that was seen"
            status = ViewStatus.REGRESSED
        known = status is ViewStatus.KNOWN
        if known and record is not None:
            self.seen_generation = record.generation
            last = record
        self._publish(ControlView(last, 0.0, known=known, why=why, status=status))
        if granted and self.membership is not None and known:
            self.membership.lease.renew(sent_at)

    def on_ring(self, record: ControlRecord | None) -> None:
        """Apply a newer record at once; whatever else it is, the read after it finds out."""
        if record is None or record.generation <= self.seen_generation:
            return
        self.seen_generation = record.generation
        self._publish(
            replace(self._view, record=record, known=True, why="", status=ViewStatus.KNOWN)
        )

    def on_unreadable(self, fault: UnreadableRecord, sent_at: float) -> None:
        """Take that the record is damaged."""
        self._answered_at = sent_at
        self._publish(
            replace(self._view, known=False, why=str(fault), status=ViewStatus.UNREADABLE)
        )

    def on_fault(self, fault: Fault) -> None:
        """Take that no answer came: the view ages."""
        self._view = replace(self._view, why=str(fault))

    def _publish(self, view: ControlView) -> None:
        changed = (view.record, view.status) != (self._view.record, self._view.status)
        self._view = view
        if self.membership is not None and view.known and view.record is not None:
            self.membership.see(view.record.generation)
        if not changed:
            return
        generation = None if view.record is None else view.record.generation
        log = _log.info if view.known else _log.warning
        log(
            "control_state",
            scope=self.scope,
            status=view.status,
            generation=generation,
            state=None if view.record is None else view.record.state,
            why=view.why,
        )
        try:
            self._on_change()
        except Exception:  # noqa: BLE001 - logged; it must not blind the reader
            _log.exception("control_listener_failed", scope=self.scope)

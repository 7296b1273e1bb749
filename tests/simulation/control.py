"""Redis as the kill switch sees it: records, leases, doorbells, and times when it is away.

The model is the world's (`RedisModel`); each process has its own connection to it
(`SimulatedControl`, which stands for `ControlStore`). The scripts of the protocol are carried out
in Python; that Redis does the same with them is tested against a real one elsewhere.
"""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from lob.errors import Conflict, DeadlineExceeded, Unavailable
from tests.simulation.loop import World
from touchstone.kit import membership
from touchstone.kit.control_store import ControlRecord, record_from_fields

READ_SECONDS: Final = 0.2


@dataclass
class RedisModel:
    """Hashes, the census of members, and who listens."""

    world: World
    records: dict[str, dict[str, str]] = field(default_factory=dict)
    members: dict[str, dict[str, str]] = field(default_factory=dict)
    listeners: list[Callable[[str, str], None]] = field(default_factory=list)
    away: bool = False
    slow: bool = False
    since: float = -60.0
    writes: int = 0
    history: list[tuple[float, str, int, str]] = field(default_factory=list)
    """When which scope was set to which generation and state."""
    acked: list[tuple[float, str, int]] = field(default_factory=list)

    def write(
        self, scope: str, mode: str, expected: int, floor: int, fields: Mapping[str, str]
    ) -> tuple[str, int, dict[str, str]]:
        """Do what the script of a write does."""
        present = self.records.get(scope)
        current = int(present["generation"]) if present else 0
        if mode == "absent" and present:
            return "written", current, present
        if mode == "compare" and current != expected:
            return "conflict", current, {}
        generation = max(current, floor) + 1
        self.writes += 1
        record = {"generation": str(generation), **fields, "write_id": str(self.writes)}
        self.records[scope] = record
        self.history.append((self.world.now, scope, generation, fields["state"]))
        flat = json.dumps([part for item in record.items() for part in item])
        for ring in list(self.listeners):
            ring(scope, flat)
        return "written", generation, record

    def renew(self, key: str, name: str, applied: str) -> list[Any]:
        """Do what the script of a renewal does; forgotten names are left out."""
        present = self.records.get(key, {})
        granted = bool(present) and present["generation"] == applied
        entries = self.members.setdefault(key, {})
        stamp = str(int(self.world.now * 1000))
        entries.setdefault("@founded", stamp)
        acked = applied if granted else entries.get(name, "0 0").partition(" ")[0]
        entries[name] = f"{acked} {stamp}"
        if granted:
            self.acked.append((self.world.now, key, int(applied)))
        return [1 if granted else 0, [part for item in present.items() for part in item]]

    def census(self, key: str) -> list[Any]:
        """Do what the script of the census does."""
        generation = self.records.get(key, {}).get("generation", "0")
        flat = [part for item in self.members.get(key, {}).items() for part in item]
        return [str(int(self.world.now * 1000)), generation, flat]

    def lose_everything(self) -> None:
        """Begin again with nothing, as after FLUSHALL."""
        self.records.clear()
        self.members.clear()
        self.since = self.world.now


class _Bell:
    """What `ControlStore.doorbell` yields: as much of a PubSub as the reader uses."""

    def __init__(self, control: "SimulatedControl", channels: Sequence[str]) -> None:
        self._control = control
        self._channels = set(channels)
        self._rings: list[dict[str, str]] = []
        self._wake = asyncio.Event()

    def ring(self, scope: str, flat: str) -> None:
        """Take a message."""
        channel = f"control:{{{scope}}}:doorbell"
        if channel in self._channels and self._control.alive and not self._control.model.away:
            message = {"type": "message", "channel": channel, "data": flat}
            self._control.model.world.after(self._control.latency(), self._take, message)

    def _take(self, message: dict[str, str]) -> None:
        if self._control.alive:
            self._rings.append(message)
            self._wake.set()

    async def get_message(self, timeout: float = 0.0) -> dict[str, str] | None:  # noqa: ASYNC109
        """Return the next message, None when there is none in time."""
        if not self._rings:
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._wake.wait()
        return self._rings.pop(0) if self._rings else None

    async def ping(self) -> None:
        """Ask for a sign of life."""
        await self._control.reach("ping")


class SimulatedControl:
    """Stands for `ControlStore`: one process's connection to the model."""

    durability = ()

    def __init__(self, model: RedisModel, rng: random.Random) -> None:
        self.model = model
        self.alive = True
        self._rng = rng

    def latency(self) -> float:
        """Return how long one way takes."""
        return self._rng.uniform(0.0001, 0.002)

    async def reach(self, what: str) -> None:
        """Wait as long as a round trip takes.

        Raises:
            Unavailable, DeadlineExceeded: Redis is away.
        """
        if self.model.away:
            if self._rng.random() < 0.5:
                await asyncio.sleep(READ_SECONDS)
                raise DeadlineExceeded(f"Redis: {what}: no answer")
            await asyncio.sleep(self.latency())
            raise Unavailable(f"Redis: {what}: connection refused")
        await asyncio.sleep(self.latency() + (0.15 if self.model.slow else 0.0))
        if self.model.away:
            raise Unavailable(f"Redis: {what}: connection reset")

    async def read(self, scope: str) -> ControlRecord | None:
        """Return the present record."""
        await self.reach("read")
        fields = self.model.records.get(_key(scope))
        return record_from_fields(scope, fields) if fields else None

    async def write(
        self,
        scope: str,
        *,
        state: str,
        document: Mapping[str, Any],
        actor: str,
        reason: str,
        expected_generation: int | None,
        floor_generation: int = 0,
    ) -> ControlRecord:
        """Write the next generation; see `ControlStore.write`."""
        await self.reach("write")
        mode = "any" if expected_generation is None else "compare"
        fields = _fields(state, document, actor, reason)
        status, present, record = self.model.write(
            _key(scope), mode, expected_generation or 0, floor_generation, fields
        )
        await asyncio.sleep(self.latency())
        if status == "conflict":
            raise Conflict(f"generation of {scope}: present is {present}")
        return record_from_fields(scope, record)

    async def initialise(
        self,
        scope: str,
        *,
        state: str,
        document: Mapping[str, Any],
        actor: str,
        reason: str,
        floor_generation: int = 0,
    ) -> ControlRecord:
        """Write the first record where there is none."""
        await self.reach("initialise")
        fields = _fields(state, document, actor, reason)
        _, _, record = self.model.write(_key(scope), "absent", 0, floor_generation, fields)
        return record_from_fields(scope, record)

    async def run_script(
        self, script: str, keys: Sequence[str], arguments: Sequence[str], what: str
    ) -> Any:
        """Carry one of the protocol's scripts out."""
        await self.reach(what)
        answer = self._carry_out(script, keys, arguments)
        await asyncio.sleep(self.latency())
        return answer

    async def run_scripts(
        self, script: str, calls: Sequence[tuple[Sequence[str], Sequence[str]]], what: str
    ) -> list[Any]:
        """Carry a script out for each call."""
        await self.reach(what)
        answers = [self._carry_out(script, keys, arguments) for keys, arguments in calls]
        await asyncio.sleep(self.latency())
        return answers

    def _carry_out(self, script: str, keys: Sequence[str], arguments: Sequence[str]) -> Any:
        if not self.alive:
            return [0, []]
        model = self.model
        if script == membership._RENEW:
            return model.renew(keys[0], arguments[0], arguments[1])
        if script == membership._CENSUS:
            return model.census(keys[0])
        entries = model.members.get(keys[0].removesuffix(":members"), {})
        if script != membership._FORGET or entries.get(arguments[0]) == arguments[1]:
            entries.pop(arguments[0], None)
        return 1

    async def uptime_seconds(self) -> float:
        """Return how long the server has run."""
        await self.reach("INFO server")
        return self.model.world.now - self.model.since

    async def durability_problems(self) -> tuple[str, ...]:
        """Return what may lose a halt: nothing."""
        await self.reach("CONFIG GET")
        return ()

    async def check(self) -> str:
        """Return a readiness detail."""
        await self.reach("CONFIG GET")
        return "answers; durable"

    @contextlib.asynccontextmanager
    async def doorbell(self, *scopes: str) -> AsyncIterator[Any]:
        """Listen for new generations."""
        await self.reach("subscribe")
        bell = _Bell(self, [f"{_key(scope)}:doorbell" for scope in scopes])

        def ring(key: str, flat: str) -> None:
            bell.ring(key.removeprefix("control:{").removesuffix("}"), flat)

        self.model.listeners.append(ring)
        try:
            yield bell
        finally:
            with contextlib.suppress(ValueError):
                self.model.listeners.remove(ring)


def _key(scope: str) -> str:
    return f"control:{{{scope}}}"


def _fields(state: str, document: Mapping[str, Any], actor: str, reason: str) -> dict[str, str]:
    return {
        "state": state,
        "document": json.dumps(dict(document)),
        "actor": actor,
        "reason": reason,
        "updated_at": "2026-01-01T00:00:00+00:00",
    }

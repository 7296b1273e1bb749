"""SIGHUP: read the configuration files again; a bad one keeps what was read before."""

import asyncio
import signal

import structlog
from prometheus_client import CollectorRegistry, Counter

from lob.errors import Fault
from services.router.rollout_control import RolloutControl
from services.router.settings import RouterSettings
from touchstone.kit.flags import load_flags

_log = structlog.get_logger("touchstone.router")


class ReloadCounter:
    """Count what SIGHUP led to: files taken over, or kept as they were because of a wrong one."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter = Counter(
            "config_reloads",
            "Configuration files read again at SIGHUP, by whether they were taken over",
            ["outcome"],
            registry=registry,
        )
        self._outcomes = {
            ok: counter.labels("applied" if ok else "refused") for ok in (True, False)
        }

    def count(self, *, applied: bool) -> None:
        """Count one."""
        self._outcomes[applied].inc()


def hangups() -> asyncio.Event:
    """Return an event that SIGHUP sets from now on; without it the signal would end the process."""
    event = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, event.set)
    return event


async def follow_hangups(
    event: asyncio.Event,
    settings: RouterSettings,
    control: RolloutControl,
    reloads: ReloadCounter,
) -> None:
    """Read the files again at each SIGHUP; runs until cancelled."""
    while True:
        await event.wait()
        event.clear()
        applied = False
        try:
            applied = await reload_flags(settings, control)
        except Exception:  # noqa: BLE001 - logged; the next SIGHUP has to work
            _log.exception("flags_not_reloaded")
        reloads.count(applied=applied)


async def reload_flags(settings: RouterSettings, control: RolloutControl) -> bool:
    """Take over the master switches of both files; return whether they could be read.

    They, the plan by which the rollout goes on, and the state for a first boot are all that files
    say; the judge's settings hold from the next step on. Phase, share and lists in Redis are
    the truth and stay; `USE_L3_SIMULATOR` is the environment's and stays as it was at the start.
    """
    try:
        flags = await asyncio.to_thread(
            load_flags, settings.config_path, settings.rollout_path, settings.use_l3_simulator
        )
    except Fault as fault:
        _log.error("flags_not_reloaded", why=str(fault), kept=list(control.flags.off_because))
        return False
    before, control.flags = control.flags, flags
    _log.warning(
        "flags_reloaded",
        off_because=list(flags.off_because),
        before=list(before.off_because),
    )
    return True

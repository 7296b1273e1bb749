"""SIGHUP: read the configuration files again; a bad one keeps what was read before."""

import asyncio
import signal

import structlog

from lob.errors import Fault
from services.router.flags import load_flags
from services.router.rollout_control import RolloutControl
from services.router.settings import RouterSettings

_log = structlog.get_logger("touchstone.router")


def hangups() -> asyncio.Event:
    """Return an event that SIGHUP sets from now on; without it the signal would end the process."""
    event = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, event.set)
    return event


async def follow_hangups(
    event: asyncio.Event, settings: RouterSettings, control: RolloutControl
) -> None:
    """Read the files again at each SIGHUP; runs until cancelled."""
    while True:
        await event.wait()
        event.clear()
        try:
            await reload_flags(settings, control)
        except Exception:  # noqa: BLE001 - logged; the next SIGHUP has to work
            _log.exception("flags_not_reloaded")


async def reload_flags(settings: RouterSettings, control: RolloutControl) -> bool:
    """Take over the master switches of both files; return whether they could be read.

    They and the state for a first boot are all that files say. Phase, share and lists in Redis are
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

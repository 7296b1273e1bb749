"""Replays and what-ifs of recorded decisions for the API, each in a process of its own.

They compute for seconds or minutes what the router must answer in less than a millisecond, so they
are `touchstone decisions` at the lowest priority, one at a time.
"""

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from lob.errors import DeadlineExceeded, InvalidInput, NotFound, Overloaded, Unavailable
from touchstone.rollout.state import KEY_CHARACTERS_MAX, fraction_from_basis_points

REPLAY_SECONDS_MAX: Final = 60.0
WHAT_IF_SECONDS_MAX: Final = 900.0
LOWEST_PRIORITY: Final = 19
USAGE: Final = 2
BASIS_POINTS_ALL: Final = 10_000
LISTS: Final = ("canary_symbols", "canary_accounts", "deny_symbols", "deny_accounts")
WHAT_IF_KEYS: Final = (
    "phase",
    "basis_points",
    "percentage",
    "salt",
    *LISTS,
    "l3_config",
    "keep_failures",
    "day",
)


class RecordedDecisions:
    """Run commands on the decisions in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._busy = asyncio.Lock()

    async def replay(self, identity: str) -> dict[str, Any]:
        """Make a decision again and return whether route and fills are the same byte for byte.

        Raises:
            NotFound: it is not in the log.
            Overloaded: another command is under way.
            Unavailable: the service is stopping.
            DeadlineExceeded: it took too long.
        """
        return await self._run(["replay", identity], REPLAY_SECONDS_MAX)

    async def what_if(self, body: dict[str, Any]) -> dict[str, Any]:
        """Run the recorded decisions under a proposal and return who moves and what changes.

        Raises:
            InvalidInput: the proposal is none.
            NotFound: there is no decision to run.
            Overloaded: another command is under way.
            Unavailable: the service is stopping.
            DeadlineExceeded: it took too long.
        """
        arguments = ["what-if", *_options(body)]
        l3_config = body.get("l3_config")
        if l3_config is None:
            return await self._run(arguments, WHAT_IF_SECONDS_MAX)
        if not isinstance(l3_config, dict):
            raise InvalidInput(f"l3_config: {type(l3_config).__name__}; allowed: an object")
        with tempfile.TemporaryDirectory(prefix="touchstone-what-if-") as folder:
            path = Path(folder) / "l3.yaml"
            # JSON is YAML.
            path.write_text(json.dumps(l3_config, default=str))
            return await self._run([*arguments, "--l3-config", str(path)], WHAT_IF_SECONDS_MAX)

    async def _run(self, arguments: Sequence[str], seconds_max: float) -> dict[str, Any]:
        if self._busy.locked():
            raise Overloaded("decisions: a replay or a what-if is under way; try again later")
        async with self._busy:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "touchstone.cli", "decisions", *arguments),
                *("--dir", str(self._folder), "--json", "--quiet"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            try:
                with contextlib.suppress(ProcessLookupError):
                    os.setpriority(os.PRIO_PROCESS, process.pid, LOWEST_PRIORITY)
                async with asyncio.timeout(seconds_max):
                    said, complaints = await process.communicate()
            except TimeoutError:
                text = f"decisions {arguments[0]}: not done within {seconds_max:g} s"
                raise DeadlineExceeded(f"{text}; allowed: the same by `touchstone`") from None
            except asyncio.CancelledError:
                # The server ends what is still under way some seconds after it was asked to stop.
                raise Unavailable("the service is stopping") from None
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        return _answer(process.returncode or 0, said, complaints)


def _answer(code: int, said: bytes, complaints: bytes) -> dict[str, Any]:
    """Return the document that a command printed, or raise what it complained of."""
    if said.strip():
        document: dict[str, Any] = json.loads(said)
        return document
    rows = complaints.decode("utf-8", "replace").strip().splitlines() or ["no word of it"]
    text = rows[-1].removeprefix("touchstone: ").replace("--l3-config FILE", "l3_config")
    raise (InvalidInput if code == USAGE else NotFound)(text)


def _options(body: dict[str, Any]) -> list[str]:
    """Return a proposal as options; what the command checks itself is only of the right kind.

    Raises:
        InvalidInput: a value is of another kind, or nothing is proposed.
    """
    if not body.keys() - {"day", "keep_failures"}:
        raise InvalidInput(f"body: nothing proposed; allowed: {', '.join(WHAT_IF_KEYS)}")
    given: dict[str, str] = {}
    given |= {name: _text(name, body[name]) for name in ("phase", "salt", "day") if name in body}
    given |= {name: _listed(name, body[name]) for name in LISTS if name in body}
    share = _share(body)
    if share is not None:
        given["percentage"] = share
    options = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    keep = body.get("keep_failures", False)
    if not isinstance(keep, bool):
        raise InvalidInput(f"keep_failures: {keep!r}; allowed: true, false")
    return [*options, "--keep-failures"] if keep else options


def _share(body: dict[str, Any]) -> str | None:
    """Return the share proposed as a fraction."""
    if "basis_points" not in body:
        return str(body["percentage"]) if "percentage" in body else None
    if "percentage" in body:
        raise InvalidInput("percentage, basis_points: both given; allowed: one of them")
    points = body["basis_points"]
    if type(points) is not int or not 0 <= points <= BASIS_POINTS_ALL:
        raise InvalidInput(f"basis_points: {points!r}; allowed: 0..{BASIS_POINTS_ALL}")
    return str(fraction_from_basis_points(points))


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= KEY_CHARACTERS_MAX or "\0" in value:
        raise InvalidInput(f"{name}: {value!r}; allowed: a text of up to {KEY_CHARACTERS_MAX}")
    return value


def _listed(name: str, value: object) -> str:
    if not isinstance(value, list):
        raise InvalidInput(f"{name}: {value!r}; allowed: a list of texts")
    parts = [_text(f"{name}[{place}]", part) for place, part in enumerate(value)]
    if any("," in part for part in parts):
        raise InvalidInput(f"{name}: {value!r}; allowed: texts without commas")
    return ",".join(parts)

"""Run seeds: `python -m tests.simulation --seeds 10000 --processes 2`, or one with its trace."""

import argparse
import json
import logging
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from tests.simulation.planted import planted
from tests.simulation.scenario import collect, crash_at, simulate, unchanged

HASH_SEED: Final = "0"
PROGRESS_SECONDS: Final = 10.0
COLLECT_EVERY: Final = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; return 1 where a seed failed."""
    asked = _parser().parse_args(arguments)
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        # The order of a set of texts must be the same in every run of a seed.
        environment = os.environ | {"PYTHONHASHSEED": HASH_SEED}
        command = [sys.executable, "-m", "tests.simulation", *(arguments or sys.argv[1:])]
        return subprocess.run(command, env=environment, check=False).returncode
    logging.disable(logging.CRITICAL)
    if asked.processes > 1 and asked.seed is None:
        return _many(asked)
    with planted(asked.plant):
        if asked.seed is None:
            return _range(asked)
        if asked.sweep:
            return _sweep(asked.seed, asked.sweep)
        return _one(asked.seed, asked.crash_at, tracing=asked.trace)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one seed")
    parser.add_argument("--trace", action="store_true", help="with --seed: say what happens")
    parser.add_argument("--crash-at", type=int, help="with --seed: die at this callback only")
    parser.add_argument("--sweep", type=int, help="with --seed: die at every so many-th callback")
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--step", type=int, default=1, help="only every so many-th")
    parser.add_argument("--plant", default="", help="put this mistake into the gateway")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--limit", type=int, default=20, help="stop after so many failures")
    parser.add_argument("--seconds", type=float, default=0.0, help="stop after so many seconds")
    return parser


def _sweep(seed: int, stride: int) -> int:
    """Crash one seed's first process at every `stride`-th callback; return 1 where one fails."""
    steps = simulate(seed, change=crash_at(0)).steps
    failed = []
    for step in range(1, steps + 1, stride):
        verdict = simulate(seed, change=crash_at(step))
        if verdict.violations:
            failed.append(step)
            _say(f"seed {seed}, crash at {step}: {verdict.violations[0]}")
        if step % COLLECT_EVERY == 0:
            collect()
    _say(json.dumps({"seed": seed, "steps": steps, "stride": stride, "failed": failed}))
    return 1 if failed else 0


def _one(seed: int, step: int | None, *, tracing: bool) -> int:
    change = unchanged if step is None else crash_at(step)
    verdict = simulate(seed, tracing=tracing, change=change)
    for line in verdict.trace:
        _say(line)
    for violation in verdict.violations:
        _say(f"seed {seed}: {violation}")
    _say(f"seed {seed}: {len(verdict.violations)} violations; {verdict.counts}")
    return 1 if verdict.violations else 0


def _range(asked: argparse.Namespace) -> int:
    failed: dict[int, list[str]] = {}
    totals: Counter[str] = Counter()
    began, cpu, told = time.monotonic(), time.process_time(), time.monotonic()
    done = 0
    for seed in range(asked.first, asked.first + asked.seeds, asked.step):
        verdict = simulate(seed)
        done += 1
        totals.update(verdict.counts)
        totals["steps"] += verdict.steps
        totals["virtual seconds"] += round(verdict.virtual_seconds)
        if verdict.violations:
            failed[seed] = verdict.violations
            _say(f"seed {seed}: {verdict.violations[0]} (+{len(verdict.violations) - 1})")
        if done % COLLECT_EVERY == 0:
            collect()
        now = time.monotonic()
        if now - told > PROGRESS_SECONDS:
            told = now
            _say(f"{done} seeds, {len(failed)} failed, {now - began:.0f} s")
        if len(failed) >= asked.limit or (asked.seconds and now - began > asked.seconds):
            break
    summary: dict[str, Any] = {
        "seeds": done,
        "failed": sorted(failed),
        "cpu_ms_a_seed": round((time.process_time() - cpu) * 1000 / max(done, 1), 2),
        "totals": dict(sorted(totals.items())),
    }
    _say(json.dumps(summary) if asked.json else _shown(summary))
    return 1 if failed else 0


def _many(asked: argparse.Namespace) -> int:
    """Give every process every n-th seed; sum up what they say."""
    command = [sys.executable, "-m", "tests.simulation", "--json"]
    running = [
        subprocess.Popen(
            [
                *command,
                *("--first", str(asked.first + place)),
                *("--seeds", str(asked.seeds - place)),
                *("--step", str(asked.processes)),
                *("--limit", str(asked.limit)),
                *("--seconds", str(asked.seconds)),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        for place in range(asked.processes)
    ]
    summaries = [_follow(process) for process in running]
    whole: dict[str, Any] = {
        "seeds": sum(s["seeds"] for s in summaries),
        "failed": sorted(seed for s in summaries for seed in s["failed"]),
        "cpu_ms_a_seed": max(s["cpu_ms_a_seed"] for s in summaries),
        "totals": dict(sum((Counter(s["totals"]) for s in summaries), Counter())),
    }
    _say(json.dumps(whole) if asked.json else _shown(whole))
    died = any(process.wait() not in (0, 1) for process in running)
    return 1 if died or whole["failed"] else 0


def _follow(process: "subprocess.Popen[str]") -> dict[str, Any]:
    last = ""
    for line in _lines(process):
        if last:
            _say(last)
        last = line
    summary: dict[str, Any] = json.loads(last)
    return summary


def _lines(process: "subprocess.Popen[str]") -> Iterator[str]:
    for line in process.stdout or ():
        yield line.rstrip("\n")


def _shown(summary: dict[str, Any]) -> str:
    lines = [f"{name}: {value}" for name, value in summary.items() if name != "totals"]
    lines += [f"  {name}: {value}" for name, value in sorted(summary["totals"].items())]
    return "\n".join(lines)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

"""The simulator's page shows a program that runs."""

import asyncio
import os
import re
import sys
from pathlib import Path

from tests.services.simulator_harness import running_simulator


async def test_the_documented_program_runs(root: Path) -> None:
    """The one Python block of the page executes an order and prints its fill."""
    page = (root / "docs" / "simulator.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    async with running_simulator() as simulator:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            program,
            env=os.environ | {"SIMULATOR": simulator.address, "PYTHONPATH": str(root / "src")},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        printed, complaints = await asyncio.wait_for(process.communicate(), 30)
    assert 0 == process.returncode, complaints.decode()
    status, filled, price, slippage = printed.decode().split()
    assert ("FILLED", "250") == (status, filled)
    assert 227 < float(price) < 228
    assert float(slippage) > 0

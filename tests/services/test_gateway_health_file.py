"""The health file: always whole, and never a reason to stop."""

import json
import threading
from pathlib import Path

from services.order_gateway.health_file import HEALTH_FILE, HealthFile


def test_a_reader_finds_the_old_document_or_the_new_one(tmp_path: Path) -> None:
    """Read a thousand times while it is written: never half of one, and nothing left beside it."""
    path = tmp_path / HEALTH_FILE
    file, over = HealthFile(path), threading.Event()
    file.write({"number": 0, "filler": "x" * 20_000})

    def write() -> None:
        number = 0
        while not over.is_set():
            number += 1
            file.write({"number": number, "filler": "x" * 20_000})

    writer = threading.Thread(target=write)
    writer.start()
    numbers = [json.loads(path.read_text())["number"] for _ in range(1_000)]
    over.set()
    writer.join()
    assert sorted(numbers) == numbers
    assert [HEALTH_FILE] == [one.name for one in tmp_path.iterdir()]


def test_a_folder_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    """It says whether it worked, and works again when it can."""
    folder = tmp_path / "logs"
    file = HealthFile(folder / HEALTH_FILE)
    assert not file.write({"status": "running"})
    assert not file.write({"status": "running"})
    folder.mkdir()
    assert file.write({"status": "running"})
    assert {"status": "running"} == json.loads(file.path.read_text())

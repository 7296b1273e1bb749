"""The native book under the address and undefined-behaviour sanitizers, beside the Python one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = os.environ.get("TOUCHSTONE_SANITIZED_COMMANDS", "60000")
BUILD_SECONDS = 400
RUN_SECONDS = 400

# The sanitized extension takes the place of the installed one before anything else is imported.
SANITIZED = """
import importlib.util, pathlib, sys

class Sanitized:
    def find_spec(self, name, path=None, target=None):
        if name == "lob._core":
            return importlib.util.spec_from_file_location(name, sys.argv[1])

sys.meta_path.insert(0, Sanitized())
import lob, lob._core
assert lob.backend() == "native" and lob._core.__file__ == sys.argv[1]
"""
DIFFERENTIAL = """
from tests.properties import differential
sys.argv = ["differential", *sys.argv[2:]]
sys.exit(differential.main())
"""
PYTEST = """
import pytest
sys.exit(pytest.main(["-q", "-s", "-p", "no:cacheprovider", *sys.argv[2:]]))
"""


@pytest.fixture(scope="module")
def sanitized(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The extension, built with both sanitizers and every debug check."""
    tools = Path(sys.prefix) / "native-build" / "tools" / "bin"
    if not (tools / "cmake").exists() or shutil.which("g++") is None:
        pytest.skip("no C++ compiler or build tools: ./touchstone installs them where there is one")
    folder = tmp_path_factory.mktemp("sanitized")
    build = folder / "build"
    configure = [
        *(str(tools / "cmake"), "-S", str(root / "src" / "lob" / "_native"), "-B", str(build)),
        *("-G", "Ninja", "-DTOUCHSTONE_SANITIZE=ON", "-DCMAKE_BUILD_TYPE=Debug"),
        "-DCMAKE_CXX_FLAGS_DEBUG=-g1",
        *(f"-DPython_EXECUTABLE={tools / 'python'}", f"-DCMAKE_MAKE_PROGRAM={tools / 'ninja'}"),
    ]
    for step in (
        configure,
        [str(tools / "cmake"), "--build", str(build)],
        [str(tools / "cmake"), "--install", str(build), "--prefix", str(folder)],
    ):
        done = subprocess.run(
            step, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
        )
        assert 0 == done.returncode, done.stdout[-3000:] + done.stderr[-3000:]
    return next((folder / "lob").glob("_core*.so"))


@pytest.mark.slow
@pytest.mark.timeout(BUILD_SECONDS + RUN_SECONDS)
def test_no_undefined_behaviour_in_an_adversarial_stream(root: Path, sanitized: Path) -> None:
    """The differential run ends as ever, and neither sanitizer has anything to say."""
    _run_sanitized(root, sanitized, DIFFERENTIAL, "--commands", COMMANDS)


@pytest.mark.slow
@pytest.mark.timeout(BUILD_SECONDS + RUN_SECONDS)
def test_no_undefined_behaviour_where_a_large_book_looks_ahead(root: Path, sanitized: Path) -> None:
    """What rows and steps will need is asked for before it may be there."""
    _run_sanitized(root, sanitized, PYTEST, "tests/native/test_bulk_foresight.py")


def _run_sanitized(root: Path, sanitized: Path, program: str, *arguments: str) -> None:
    # The C++ library too: the sanitizer looks for what throws when the process begins.
    libraries = [
        subprocess.check_output(["g++", f"-print-file-name={name}"], text=True).strip()
        for name in ("libasan.so", "libstdc++.so")
    ]
    done = subprocess.run(
        [sys.executable, "-c", SANITIZED + program, str(sanitized), *arguments],
        cwd=root,
        env=os.environ
        | {
            "LD_PRELOAD": " ".join(libraries),
            "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}",
            # Python itself keeps memory to its end: leaks are not what is looked for here.
            "ASAN_OPTIONS": "detect_leaks=0",
            "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        },
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert 0 == done.returncode, done.stdout[-2000:] + done.stderr[-4000:]
    assert "runtime error" not in done.stderr
    assert "AddressSanitizer" not in done.stderr

"""What this process is made of: a name for the code that decides routes and fills."""

import functools
import hashlib
import platform
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import touchstone

PACKAGES: Final = ("lob", "execution_providers", "touchstone.rollout")
"""What routes and fills are computed by."""
_KINDS: Final = (".py", ".so", ".pyd")


@functools.cache
def build_id() -> str:
    """Return version, a digest of the deciding code, and the interpreter and machine it runs on.

    The digest covers every source and compiled module of `PACKAGES`; two processes of one
    installation have the same. Floating point and random streams are the interpreter's and the
    machine's, so that they are part of the name. Reads some hundred files, once.
    """
    digest = hashlib.blake2b(digest_size=6)
    for name in PACKAGES:
        for folder in _folders(name):
            for path in sorted(folder.rglob("*")):
                if path.suffix in _KINDS and path.is_file():
                    digest.update(f"{name}/{path.relative_to(folder).as_posix()}\0".encode())
                    digest.update(hashlib.blake2b(path.read_bytes()).digest())
    python = f"{platform.python_implementation().lower()}{platform.python_version()}"
    return f"{touchstone.__version__}+{digest.hexdigest()}.{python}.{platform.machine()}"


def _folders(name: str) -> list[Path]:
    spec = find_spec(name)
    found = [] if spec is None else spec.submodule_search_locations or []
    return [Path(folder) for folder in found]

"""`touchstone docs`: the pages of `docs/` as a site."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from lob.errors import Unavailable
from touchstone.cli.console import EXIT_FAILED, EXIT_OK, complain, out

FolderOption = Annotated[Path, typer.Option("--out", help="The folder to write.")]
ServeOption = Annotated[
    bool, typer.Option("--serve", help="Serve the pages on 127.0.0.1:8001 and follow changes.")
]


def docs(folder: FolderOption = Path("site"), serve: ServeOption = False) -> None:
    """Build the documentation as a site, strictly: a dead link is an error.

    Exit code 0 when it is built, 1 when a page is wrong.
    """
    home = Path(os.environ.get("TOUCHSTONE_HOME", ".")).absolute()
    if importlib.util.find_spec("mkdocs") is None or not (home / "mkdocs.yml").exists():
        raise Unavailable("the site is built in a checkout, by ./touchstone docs")
    if serve:
        way = ["serve", "--strict", "--dev-addr", "127.0.0.1:8001"]
    else:
        way = ["build", "--strict", "--site-dir", str(folder.absolute())]
    done = subprocess.run(  # noqa: S603 - our own fixed command
        [sys.executable, "-m", "mkdocs", *way],
        cwd=home,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        check=False,
    )
    if done.returncode != 0:
        complain("the pages are not as they should be; see above")
        raise typer.Exit(EXIT_FAILED)
    out.print(f"{folder / 'index.html'}", markup=False, soft_wrap=True)
    raise typer.Exit(EXIT_OK)

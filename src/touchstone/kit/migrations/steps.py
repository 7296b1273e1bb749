"""Go from one version of the schema to another, with alembic."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from lob.errors import ConfigError
from touchstone.kit.migrations import BEFORE_ALEMBIC, current

FOLDER: Final = Path(__file__).parent


def go_up(connection: Connection, revision: str) -> None:
    """Bring the schema up to a revision.

    Raises:
        ConfigError: the schema is of a version that this build does not know.
    """
    command.upgrade(_config(connection), revision)


def go_down(connection: Connection, revision: str) -> None:
    """Take the schema down to a revision.

    Raises:
        ConfigError: no such revision, or the rows cannot stand in the older tables.
    """
    config = _config(connection)
    try:
        command.downgrade(config, revision)
    except CommandError as error:
        raise ConfigError(f"revision: {error}") from None


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    found = current(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise ConfigError(
            f"event store: schema revision {found}; this build knows up to {max(known)}"
        )
    if found == BEFORE_ALEMBIC:
        command.stamp(config, BEFORE_ALEMBIC)
    return config

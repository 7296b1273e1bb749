"""`python -m touchstone.cli`: the same command as `./touchstone`."""

import sys

try:
    from touchstone.cli.app import main
except ModuleNotFoundError as error:
    sys.stderr.write(
        f"touchstone: missing dependency {error.name!r}: remove .venv and run ./touchstone again\n"
    )
    sys.exit(1)

if __name__ == "__main__":
    main()

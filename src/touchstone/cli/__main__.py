"""`python -m touchstone.cli`: the same command as `./touchstone`."""

from touchstone.cli.app import main

if __name__ == "__main__":
    main()

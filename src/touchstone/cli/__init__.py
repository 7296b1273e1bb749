"""The `touchstone` command."""

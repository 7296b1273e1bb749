"""The runnable services: `python -m services.<name>`."""

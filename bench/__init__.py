"""Benchmarks, run from the checkout: `touchstone bench book`, `python -m bench.providers`."""

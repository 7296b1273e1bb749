"""Decide who answers with L3, and compare it with L2: pure, deterministic, time passed in."""

"""Touchstone: rollout control, perps gateway core, paper venue and what the services share."""

__version__ = "0.1.0"

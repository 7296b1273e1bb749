"""Fit a market's flow and costs from its feed."""

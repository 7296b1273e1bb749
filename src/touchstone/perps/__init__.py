"""Rules of the perps gateway: orders, kill states, checks, positions, sizing. Pure."""

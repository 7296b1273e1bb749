"""The rollout plan's three phases, run from its own command lines against the paper exchange."""

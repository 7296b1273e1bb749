"""Venue adapters: what the engine needs of a venue, and Coinbase's protocol for it."""

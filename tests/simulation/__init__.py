"""A deterministic simulation of the gateway: seeded, in virtual time, with faults and crashes."""

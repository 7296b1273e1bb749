"""Generated from `protos/touchstone/v1` by `protos/generate.py`; never edited."""

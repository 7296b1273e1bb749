"""Readers of market data files: streaming, bounded in memory, honest about what they leave out."""

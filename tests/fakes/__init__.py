"""Fakes of what lies beyond our edges."""

"""Measurements with rivals: ``python -m bench run`` and ``python -m bench check`` (see docs/bench.md)."""

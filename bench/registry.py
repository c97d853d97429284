"""Every item by name. A module of ``bench`` offers its items as ``ITEMS``; issues add modules and the prefix of their items."""

from __future__ import annotations

import importlib
import importlib.util

from bench.item import Item

MODULES = (
    "data",
    "training",
    "history",
    "quality",
    "store",
    "importing",
    "fuzz_import",
    "trading",
    "audit",
    "engine",
    "serving",
    "statechart",
    "regimes",
    "segmentation",
    "regime_segmenter",
    "regime_joint",
    "regime_real",
    "regime_nested",
    "regime_encoders",
    "regime_stream",
    "anomalies",
    "fetching",
    "live",
)
"""``quality`` holds the rows about forecasts (``main/quality/...``) and the CPU time of training for the first of them."""


def items() -> dict[str, Item]:
    """All items in the order of their modules."""
    found: dict[str, Item] = {}
    for name in MODULES:
        if importlib.util.find_spec(f"bench.{name}") is None:
            continue
        offered = getattr(importlib.import_module(f"bench.{name}"), "ITEMS", ())
        found |= {item.name: item for item in offered}
    return found

"""The page of a live run: every part is drawn, names are escaped, simulated candles say so."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from candelabra.report.live_page import LiveView, live_page
from candelabra.testing import example_candles


@pytest.fixture(scope="module")
def view() -> LiveView:
    candles = example_candles(bars=60, gaps=False, symbol="<b>SIM</b>/USDT")
    due, low = candles.close_time + 3_600_000, candles.close * 0.98
    first, end = int(candles.open_time[0]), int(candles.close_time[-1])
    return LiveView(
        candles, {"1h": (due, low, candles.close * 1.02), "6h": (due, low * 0.9, candles.close * 1.1)}, {"1h": [(first, end, "bullish")]},
        [(first, end - 3_600_000, "live"), (end - 3_600_000, end, "stale")], (candles.close_time, np.ones(len(candles))),
        [("Bundle", "abc")], ["<i>a warning</i>"],
    )  # fmt: skip


def test_every_part_is_drawn(view: LiveView) -> None:
    page = live_page(view)
    assert "Simulated market" in page
    assert "<b>SIM" not in page
    assert "<i>a warning" not in page
    spec = json.loads(re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.S)[0])
    kinds = [trace["type"] for trace in spec["data"]]
    assert kinds.count("candlestick") == 1
    assert kinds.count("bar") == 3
    assert kinds.count("scatter") == 5
    names = {trace.get("name") for trace in spec["data"]}
    assert {"90 % of 1h ahead", "90 % of 6h ahead", "bullish", "live", "stale"} <= names

"""What the report is filled with: times as times, one best baseline, one vocabulary."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np

from candelabra.candles.frame import Candles
from candelabra.candles.quality import inspect
from candelabra.pipeline.material import Material
from candelabra.pipeline.present import _findings

HOUR = 3_600_000


def test_a_finding_says_when_it_was_first_in_its_own_column() -> None:
    start = 1_700_002_800_000
    time = start + HOUR * np.array([0, 1, 2, 5, 6])
    price = np.array([5.0, 6.0, 5.0, 6.0, 5.0])
    candles = Candles.of("A", "1h", time, price, price, price, price, [1, 1, 0, 1, 1])
    material = cast(Material, SimpleNamespace(quality=[inspect(candles)]))
    found = {f.what: f for f in _findings(material)}
    assert found["gap"].first_ms == time[3]
    assert found["zero volume"].first_ms == time[2]
    assert not found["zero volume"].detail.startswith("2023-11-15")

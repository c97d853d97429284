"""What a run on a learning set learned is learned again on scrambled ranges; pieces of regimes are audited by their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from candelabra.candles import REGIMES
from candelabra.candles.regime_markets import regime_market
from candelabra.errors import UsageError
from candelabra.pipeline.audit_pieces import audit_piece
from candelabra.pipeline.audit_regimes import audit_regime_refit
from candelabra.pipeline.audit_targets import is_bundle
from candelabra.regimes.segmentation import Segmentation
from candelabra.testing.segmenters import example_regime_market
from candelabra.training import regime_problem
from candelabra.training.regime_fit import RegimeData

CANDLES = example_regime_market(900).candles


@pytest.fixture(scope="module")
def data() -> RegimeData:
    market = regime_market(2_400, 3)
    c, code = market.candles, market.regime.astype(np.int16)
    cuts = (int(c.close_time[k]) for k in (1_399, 1_999))
    return RegimeData((c,), REGIMES, {"1h": (Segmentation.of_bars(c, REGIMES, code),)}, *cuts)


def test_a_sound_fit_is_the_same_whatever_comes_later(data: RegimeData) -> None:
    found = audit_regime_refit(data)
    assert found.passed, [f.words for f in found.findings]
    assert found.tried == {"refit, values": 2}
    assert found.columns > 10


def test_inputs_scaled_on_later_bars_are_caught(data: RegimeData, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = regime_problem.fit_regime_inputs

    def on_all(candles: Any, rows: Any, *rest: Any, **more: Any) -> Any:
        return plain(candles, [np.arange(len(c)) for c in candles], *rest, **more)

    monkeypatch.setattr(regime_problem, "fit_regime_inputs", on_all)
    found = audit_regime_refit(data)
    assert {"inputs: centre", "inputs: spread"} <= {f.column for f in found.findings}


def test_labels_that_are_too_few_are_a_note(data: RegimeData) -> None:
    early = RegimeData(data.candles, data.labels, data.segmentations, int(data.candles[0].close_time[5]), data.validation_end_ms)
    found = audit_regime_refit(early)
    assert "not learned again" in found.notes[0]
    assert not found.tried


@pytest.mark.parametrize("target", ["statechart", "regime-inputs", "decoder:duration"])
def test_a_piece_passes_by_its_name(target: str) -> None:
    audits = audit_piece(target, [CANDLES])
    assert all(one.tried and one.passed for one in audits), [(one.notes, one.findings) for one in audits]


def test_names_of_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match='did you mean "markov"'):
        audit_piece("decoder:markow", [CANDLES])
    monkeypatch.chdir(tmp_path)
    assert not is_bundle("statechart")
    (tmp_path / "statechart").mkdir()
    assert is_bundle("statechart")  # a folder of that name is what was meant
    few = audit_piece("regime-inputs", [CANDLES.rows(slice(0, 30))])
    assert all(not one.tried and one.notes for one in few)

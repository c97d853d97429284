"""The certificate of a run: sealed in its bundle, in its report, the same from the command line; and sabotage shows in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from candelabra.bundles.predictor import Predictor
from candelabra.bundles.verify import verify
from candelabra.candles.frame import Candles
from candelabra.cli import main
from candelabra.config.tree import Config, EnsembleSection, FeaturesSection, ModelSection, TimeframesSection, WindowsSection
from candelabra.errors import BundleError
from candelabra.evaluation.certificate import CERTIFICATE_FILE, Certificate, package_fingerprint
from candelabra.models.base import ModelOutput
from candelabra.models.settings import ArmsSettings
from candelabra.pipeline import judging
from candelabra.pipeline.audit import audit_bundle, audit_refit
from candelabra.pipeline.train import TrainResult, train
from candelabra.sources import write_candles
from candelabra.testing import example_candles
from candelabra.training import problem
from candelabra.training.settings import TrainingSettings

CONFIG = Config(
    seed=3,
    timeframes=TimeframesSection(base="1h", coarse=("4h",)),
    features=FeaturesSection(base=("return(1)", "log_rv(6)", "range", "target_hour"), coarse=("return(1)", "range")),
    windows=WindowsSection(horizons=("1h", "6h")),
    model=ModelSection(
        "arms",
        ArmsSettings(
            width=16, layers=1, heads=2, coarse_width=8, coarse_layers=1, coarse_heads=1, attention_width=8, coarse_attention_width=6,
            anchor="har",
        ),
    ),
    training=TrainingSettings(
        sequence_length=48, batch_size=4, steps=4, evaluate_every=2, warmup_steps=1, rehearsal=0.0, precision="float32", threads=1
    ),
    ensemble=EnsembleSection(members=("arms", "har")),
    baselines=("zero", "har"),
)  # fmt: skip
CONFIG = replace(CONFIG, evaluation=replace(CONFIG.evaluation, resamples=100))


@pytest.fixture(scope="module")
def candles() -> Candles:
    return example_candles("1h", 3_600, seed=8, symbol="AAA/USDT")


@pytest.fixture(scope="module")
def result(candles: Candles, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return train(CONFIG, [candles], folder=tmp_path_factory.mktemp("runs") / "whole")


@pytest.mark.slow
def test_a_run_is_certified_before_it_is_sealed(result: TrainResult, candles: Candles) -> None:
    certificate = Certificate.load(result.bundle)
    assert certificate is not None
    assert certificate.passed, [f.words for f in certificate.findings]
    assert CERTIFICATE_FILE in json.loads((result.bundle / "bundle.json").read_text())["files"]
    assert verify(result.bundle) == []
    subjects = [a.subject for a in certificate.audits]
    assert subjects[0].startswith("bundle")
    assert [s.split()[0] for s in subjects[1:]] == ["features", "targets", "network", "split", "everything"]
    assert all(a.tried for a in certificate.audits), [a.notes for a in certificate.audits]
    assert certificate.code == package_fingerprint()
    assert certificate.data == {"AAA/USDT 1h": candles.fingerprint}
    assert Certificate.from_json(certificate.to_json()) == certificate
    page = result.report.read_text()
    assert "Causality audit: split" in page
    assert "Causality audit: everything fitted (tiny refit)" in page


@pytest.mark.slow
def test_the_verb_audits_a_sealed_bundle_and_writes_a_page(
    result: TrainResult, candles: Candles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_candles(candles, tmp_path / "AAAUSDT_1h.parquet")
    code = main(["audit", str(result.folder), "--candles", str(path), "--html", str(tmp_path / "page.html"), "--json", "--quiet"])
    told = json.loads(capsys.readouterr().out)
    assert (code, told["passed"], told["command"]) == (0, True, "audit")
    assert "nothing found" in (tmp_path / "page.html").read_text()
    again = audit_bundle(Predictor.open(result.bundle), result.bundle, [candles])
    assert [a.to_dict() for a in again.audits] == told["audits"]  # the same seed, the same certificate


@pytest.mark.slow
def test_a_bundle_that_looks_ahead_is_caught(result: TrainResult, candles: Candles, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Predictor.outputs

    def ahead(self: Predictor, series: Any, rows: Any) -> ModelOutput:
        return plain(self, series, np.minimum(rows + 2, len(series) - 1))

    monkeypatch.setattr(Predictor, "outputs", ahead)
    found = audit_bundle(Predictor.open(result.bundle), result.bundle, [candles], refit=False)
    told = {(f.law, f.bars) for f in found.audits[0].findings}
    assert ("future", 2) in told
    assert all(a.passed for a in found.audits[1:])


def test_a_clean_refit_passes(candles: Candles) -> None:
    found = audit_refit(CONFIG, [candles])
    assert found.passed, [f.words for f in found.findings]
    assert found.tried["refit, values"] == 3


def _scaler_on_all(patch: pytest.MonkeyPatch) -> None:
    plain = problem.fit_scaler
    patch.setattr(problem, "fit_scaler", lambda values, train, *rest: plain(values, [np.arange(len(v)) for v in values], *rest))


def _stopped_on_test(patch: pytest.MonkeyPatch) -> None:
    from candelabra.pipeline.material import Material

    plain = Material.fit_data.fget  # type: ignore[attr-defined]
    patch.setattr(Material, "fit_data", property(lambda self: replace(plain(self), validation_rows=self.split.test)))


def _calibrated_on_test(patch: pytest.MonkeyPatch) -> None:
    plain = judging.outcomes

    def outcomes(targets: Any, rows: Any, outputs: Any) -> Any:
        shifted = [np.minimum(r + len(r), len(t) - 1) for r, t in zip(rows, targets, strict=True)]
        return plain(targets, shifted, outputs)

    patch.setattr(judging, "outcomes", outcomes)


@pytest.mark.parametrize(
    ("sabotage", "prefix"), [(_scaler_on_all, "scalers"), (_stopped_on_test, "weights"), (_calibrated_on_test, "calibration")]
)
def test_a_fit_that_reads_too_far_is_named(
    sabotage: Callable[[pytest.MonkeyPatch], None], prefix: str, candles: Candles, monkeypatch: pytest.MonkeyPatch
) -> None:
    sabotage(monkeypatch)
    found = audit_refit(CONFIG, [candles])
    assert prefix in {f.column.partition(":")[0] for f in found.findings}, found.findings


def test_a_damaged_certificate_is_refused(tmp_path: Path) -> None:
    assert Certificate.load(tmp_path) is None
    (tmp_path / CERTIFICATE_FILE).write_text('{"format": 9}')
    with pytest.raises(BundleError, match="format 9"):
        Certificate.load(tmp_path)
    (tmp_path / CERTIFICATE_FILE).write_text("{}")
    with pytest.raises(BundleError, match="not a causality certificate"):
        Certificate.load(tmp_path)

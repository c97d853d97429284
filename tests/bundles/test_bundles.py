"""The sealed bundle: what was trained is what is run, without torch; nothing else is accepted; nothing is half there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from candelabra.bundles import format as bundle_format
from candelabra.bundles.card import write_card
from candelabra.bundles.engines import OnnxNetwork, load_engine
from candelabra.bundles.format import read_manifest, seal
from candelabra.bundles.predictor import Predictor
from candelabra.bundles.verify import diff, require_sealed, verify
from candelabra.candles.frame import Candles
from candelabra.candles.resample import resample
from candelabra.cli import main
from candelabra.errors import BundleError, DataError, UsageError
from candelabra.features.scaling import ScalerSettings
from candelabra.metrics.calibration import Calibration
from candelabra.models.inputs import windows_needed
from candelabra.models.network import FittedNetwork, load
from candelabra.models.registry import new_model
from candelabra.models.settings import ArmsSettings, Gpt2Settings
from candelabra.testing import example_candles, example_data, example_recipe, pickles_in, shocked
from candelabra.training.export import export_graphs
from candelabra.training.fit import fit_network
from candelabra.training.settings import TrainingSettings
from candelabra.windows.recipe import build_series, candles_needed

RECIPE = example_recipe(coarse=("4h",))
TINY = ArmsSettings(
    width=16, layers=2, heads=2, coarse_width=8, coarse_layers=1, coarse_heads=1, attention_width=6, coarse_attention_width=5
)
KINDS: dict[str, Any] = {
    "cross": replace(TINY, layers=1),
    "hierarchical": replace(TINY, fusion="hierarchical"),
    "concat": replace(TINY, fusion="concat"),
    "gpt2": Gpt2Settings(width=16, layers=1, heads=2, context_length=12),
}
TRAINING = TrainingSettings(sequence_length=48, batch_size=4, steps=2, evaluate_every=2, rehearsal=0.0, precision="float32", threads=1)
SLOWLY = ("hierarchical", "concat", "gpt2")
EVERY = pytest.mark.parametrize("kind", ["cross", *(pytest.param(k, marks=pytest.mark.slow) for k in SLOWLY)])


@dataclass(frozen=True)
class Made:
    candles: Candles
    fitted: FittedNetwork
    bundle: Path


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    made: dict[str, Made] = {}
    candles = example_candles("15m", 4 * 1400, seed=3)

    def of_kind(kind: str) -> Made:
        if kind not in made:
            made[kind] = sealed(kind, candles, tmp_path_factory.mktemp(kind))
        return made[kind]

    return of_kind


@pytest.fixture
def made(make: Callable[[str], Made], tmp_path: Path) -> Made:
    """The default bundle in a folder of its own, to be tampered with."""
    one = make("cross")
    return replace(one, bundle=Path(shutil.copytree(one.bundle, tmp_path / "bundle")))


def sealed(kind: str, candles: Candles, folder: Path) -> Made:
    data, split = example_data([candles], RECIPE)
    anchor = new_model("persistence").fit(data)
    fitted, _ = fit_network(
        data, KINDS[kind], replace(TRAINING, seeds=1 if kind == "cross" else 2), ScalerSettings(fill=0.0), anchor=anchor
    )
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in fitted.modules:
            for parameter in module.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    draft = folder / "draft"
    part = draft / "parts" / fitted.name
    fitted.save(part)
    export_graphs(fitted, part)
    Calibration(("1h", "6h"), (0.5, 0.0), (1.2, 0.9)).save(draft / "calibration.json")
    series = data.series[0]
    values = {
        "model": fitted.name, "created_ms": 1, "version": "0", "symbols": (series.symbol,), "simulated": True, "horizons": ("1h", "6h"),
        "needs": candles_needed(RECIPE, windows_needed(KINDS[kind], fitted.spec), fitted.warm_up), "recipe": json.loads(RECIPE.to_json()),
        "feature_versions": {tf: t.version for tf, t in series.features.items()}, "data": {},
        "ranges": {"train": (split.cuts_ms[0], split.cuts_ms[1])}, "libraries": {}, "seed": 0,
    }  # fmt: skip
    seal(draft, folder / "bundle", values)
    assert not draft.exists()
    return Made(candles, fitted, folder / "bundle")


@EVERY
def test_the_graph_gives_what_torch_gives_and_a_row_alone_has_the_same_bits(kind: str, make: Callable[[str], Made]) -> None:
    made = make(kind)
    engine = load_engine(made.bundle / "parts" / made.fitted.name)
    assert isinstance(engine, OnnxNetwork)
    series = build_series(made.candles, RECIPE)
    rows = np.arange(len(series) - 60, len(series))
    torch_output, graph_output = made.fitted.predict(series, rows), engine.predict(series, rows)
    for field in ("quantiles", "mean", "log_volatility"):
        a, b = getattr(graph_output, field).astype(float), getattr(torch_output, field).astype(float)
        assert np.isfinite(a).all()
        assert (np.abs(a - b) <= 1e-5 * np.maximum(np.abs(b), b.std(axis=0))).all(), field
        assert b.std(axis=0).min() > 0
    for k in (0, 17, 59):
        alone = engine.predict(series, rows[k : k + 1])
        for field in ("quantiles", "mean", "log_volatility"):
            np.testing.assert_array_equal(getattr(alone, field)[0], getattr(graph_output, field)[k])


@EVERY
def test_saved_and_loaded_the_networks_give_the_same_bits(kind: str, make: Callable[[str], Made]) -> None:
    made = make(kind)
    again = load(made.bundle / "parts" / made.fitted.name)
    assert len(again.modules) == (1 if kind == "cross" else 2)
    series = build_series(made.candles, RECIPE)
    rows = np.arange(900, 1000)
    for field in ("quantiles", "mean", "log_volatility"):
        a, b = (getattr(m.predict(series, rows), field) for m in (again, made.fitted))
        np.testing.assert_array_equal(a, b)
    assert again.windows == made.fitted.windows


@EVERY
def test_a_forecast_has_the_same_bits_however_much_history_is_given(kind: str, make: Callable[[str], Made]) -> None:
    made = make(kind)
    predictor = Predictor.open(made.bundle)
    (whole,) = predictor.forecast(made.candles)
    bars = len(made.candles)
    shortest = max(predictor.manifest.needs["15m"], 4 * predictor.manifest.needs["1h"], 16 * predictor.manifest.needs["4h"]) + 64
    for first in (1, 333, bars - shortest - 32):
        (part,) = predictor.forecast(made.candles.rows(slice(first, None)))
        assert part == whole
    series = predictor.series(made.candles)
    evaluated = predictor.outputs(series, np.array([len(series) - 1]))
    spread = predictor.outputs(series, np.arange(len(series) - 200, len(series))).log_volatility.std(axis=0)
    assert (np.abs(evaluated.log_volatility[0] - whole.log_volatility) <= 1e-5 * np.maximum(np.abs(whole.log_volatility), spread)).all()


def test_a_forecast_at_an_earlier_close_is_the_one_made_then(made: Made) -> None:
    predictor = Predictor.open(made.bundle)
    at = int(made.candles.close_time[-41])
    (then,) = predictor.forecast(made.candles.between(end_ms=at))
    (now,) = predictor.forecast(made.candles, at=at)
    assert replace(now, newest_ms=then.newest_ms) == then
    assert now.newest_ms > now.as_of_ms
    assert now.as_of_ms <= at
    (inside,) = predictor.forecast(made.candles, at=at + 1)
    assert inside == now
    with pytest.raises(DataError, match=r"no candle has closed by 1970"):
        predictor.forecast(made.candles, at=5)


def test_the_newest_candle_moves_the_forecast_of_a_bundle(made: Made) -> None:
    predictor = Predictor.open(made.bundle)
    (before,), (after,) = predictor.forecast(made.candles), predictor.forecast(shocked(made.candles))
    assert before.as_of_ms == after.as_of_ms
    assert before.log_volatility != after.log_volatility
    assert before.quantiles != after.quantiles


def test_several_timeframes_may_be_given_and_one_the_model_does_not_know_changes_nothing(made: Made) -> None:
    predictor = Predictor.open(made.bundle)
    (alone,) = predictor.forecast(made.candles)
    (with_week,) = predictor.forecast([made.candles, resample(made.candles, "1d")])
    assert with_week == replace(alone, newest_ms=with_week.newest_ms)
    both = [made.candles, resample(made.candles, "1h"), resample(made.candles, "4h")]
    assert predictor.forecast(both)[0].log_volatility == alone.log_volatility
    with pytest.raises(UsageError, match=r"no candles given can make .* bars: give"):
        predictor.forecast(resample(made.candles, "1d"))
    with pytest.raises(UsageError, match=r"no candles given can make 15m bars: give 15m candles or finer"):
        predictor.forecast(resample(made.candles, "1h"))


@pytest.mark.parametrize("base_bars", [1, 30, 300, 660])
def test_too_little_history_is_refused_with_figures(base_bars: int, made: Made) -> None:
    predictor = Predictor.open(made.bundle)
    with pytest.raises(DataError, match=r"SIM/USDT up to .* closed bars, \d+ are needed.*: give earlier candles"):
        predictor.forecast(made.candles.rows(slice(-4 * base_bars, None)))


def test_no_candles_at_all_are_refused(made: Made) -> None:
    predictor = Predictor.open(made.bundle)
    with pytest.raises(DataError, match="no closed candles"):
        predictor.forecast(made.candles.rows(slice(0, 0)))


def test_a_bundle_holds_no_pickle(make: Callable[[str], Made], tmp_path: Path) -> None:
    assert pickles_in(make("cross").bundle) == []
    torch.save({"a": torch.zeros(3)}, tmp_path / "weights.safetensors")  # a wrong name does not hide it
    (tmp_path / "notes.json").write_bytes(__import__("pickle").dumps({"a": 1}))
    (tmp_path / "fine.json").write_text("{}")
    assert pickles_in(tmp_path) == ["notes.json", "weights.safetensors"]


def test_what_is_missing_changed_or_added_is_named(made: Made) -> None:
    assert verify(made.bundle) == []
    part = made.bundle / "parts" / "arms"
    (part / "weights-0.safetensors").unlink()
    (made.bundle / "calibration.json").write_text("{}")
    (part / "extra.txt").write_text("x")
    assert [(f.file, f.what) for f in verify(made.bundle)] == [
        ("parts/arms/weights-0.safetensors", "is missing"),
        ("parts/arms/extra.txt", "was added after sealing"),
        ("calibration.json", "was changed after sealing"),
    ]
    with pytest.raises(BundleError, match=r"weights-0.safetensors is missing; .*extra.txt was added .*; calibration.json was changed"):
        require_sealed(made.bundle)
    with pytest.raises(BundleError, match="not as it was sealed"):
        Predictor.open(made.bundle)


def rewritten(bundle: Path, **changes: Any) -> None:
    path = bundle / "bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_bundle_of_other_features_is_refused_with_the_difference(made: Made) -> None:
    versions = read_manifest(made.bundle).feature_versions
    rewritten(made.bundle, feature_versions=versions | {"1h": "old"})
    with pytest.raises(BundleError, match=r"computes other features than the bundle was trained on \(1h: sealed old, here 1"):
        Predictor.open(made.bundle).forecast(made.candles)


def test_a_bundle_of_another_format_is_refused(made: Made) -> None:
    rewritten(made.bundle, format=99)
    with pytest.raises(BundleError, match=r"has format 99, this version reads \d"):
        Predictor.open(made.bundle)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"format": 1}', '"text"', "null", "\x00\x01"],
    ids=["empty", "cut", "list", "blank", "bare", "text", "null", "noise"],
)
def test_a_damaged_manifest_is_refused_by_name(text: str, made: Made) -> None:
    (made.bundle / "bundle.json").write_text(text)
    with pytest.raises(BundleError, match=r"bundle.json is damaged .*restore"):
        Predictor.open(made.bundle)


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(BundleError, match=r"is not a bundle: it has no bundle.json"):
            Predictor.open(folder)


@pytest.mark.parametrize("file", ["weights-0.safetensors", "model.json", "anchor/model.json"])
@pytest.mark.parametrize("content", [b"", b"{}", b"\x80\x04broken"])
def test_a_damaged_part_is_refused_by_name(file: str, content: bytes, made: Made) -> None:
    part = made.bundle / "parts" / "arms"
    (part / file).write_bytes(content)
    with pytest.raises(BundleError, match="arms"):
        load(part)


@pytest.mark.parametrize("file", ["graph-0.onnx", "model.json", "anchor/model.json"])
def test_a_damaged_engine_is_refused_by_name(file: str, made: Made) -> None:
    part = made.bundle / "parts" / "arms"
    (part / file).write_bytes(b"{}")
    with pytest.raises(BundleError, match="arms"):
        load_engine(part)


def test_bundles_are_compared_key_by_key(made: Made, tmp_path: Path) -> None:
    other = Path(shutil.copytree(made.bundle, tmp_path / "other"))
    assert diff(made.bundle, other) == []
    rewritten(other, seed=7, feature_versions={"1h": "x"})
    assert {d.key for d in diff(made.bundle, other)} >= {"seed", "feature_versions.1h"}


def test_settings_that_differ_come_first_and_file_hashes_last(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = Path(shutil.copytree(made.bundle, tmp_path / "other"))
    for bundle, steps in ((made.bundle, 7), (other, 9)):
        (bundle / "config.toml").write_text(f"[training]\nsteps = {steps}\nbatch_size = 4\n")
    files = read_manifest(other).files
    rewritten(other, seed=7, files={name: digest[::-1] for name, digest in files.items()})
    keys = [d.key for d in diff(made.bundle, other)]
    assert keys[:2] == ["settings.training.steps", "seed"]
    assert keys[2:] == sorted(f"files.{name}" for name in files)
    assert main(["bundle", "diff", str(made.bundle), str(other)]) == 1
    shown = capsys.readouterr().out
    of_files = [line for line in shown.splitlines() if "files:" in line]
    assert len(of_files) == 2, shown  # parts/arms and calibration.json
    assert sum("parts/arms" in line for line in of_files) == 1
    assert "training.steps" in shown


def test_a_card_tells_ranges_to_the_minute() -> None:
    cut = 1_700_000_000_001
    values = {
        "model": "har", "symbols": ("A/B",), "simulated": False, "recipe": {"base": "1h"}, "horizons": ("1h",), "version": "0", "seed": 0,
        "trials": 1, "ranges": {"train": (cut - 86_400_000, cut)}, "needs": {},
    }  # fmt: skip
    assert "- train: 2023-11-13 22:13 to 2023-11-14 22:13 UTC" in write_card(values, [], [])


def test_a_model_of_an_absent_extension_is_named_with_the_way_out(made: Made) -> None:
    model = made.bundle / "parts" / "arms" / "anchor" / "model.json"
    model.write_text(json.dumps({"model": "weekly"}))
    rewritten(made.bundle, files=bundle_format.file_hashes(made.bundle))
    with pytest.raises(BundleError, match=r"not installed here, 'weekly': it comes from an extension.*pip install.*candelabra\.model"):
        Predictor.open(made.bundle)
    rewritten(made.bundle, plugins={"weekly": "candelabra-weekly 1.2"})
    with pytest.raises(BundleError, match=r"'weekly': it was made with candelabra-weekly 1\.2: pip install candelabra-weekly==1\.2"):
        Predictor.open(made.bundle)


def test_sealing_notes_the_package_a_model_of_others_came_from(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    info = site / "candelabra_weekly-1.2.dist-info"
    info.mkdir(parents=True)
    (site / "weekly_models.py").write_text(
        "from candelabra.registry import Entry\nENTRY = Entry('weekly', 'weekly_models:S', 'weekly_models:M')\n"
    )
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: candelabra-weekly\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[candelabra.model]\nany_name = weekly_models:ENTRY\n")
    monkeypatch.syspath_prepend(str(site))
    draft = Path(shutil.copytree(made.bundle, tmp_path / "draft"))
    (draft / "bundle.json").unlink()
    (draft / "parts" / "arms" / "anchor" / "model.json").write_text(json.dumps({"model": "weekly"}))
    manifest = read_manifest(made.bundle)
    values = {k: getattr(manifest, k) for k in manifest.__dataclass_fields__ if k not in ("id", "format", "files", "plugins")}
    assert seal(draft, tmp_path / "place", values).plugins == {"weekly": "candelabra-weekly 1.2"}
    assert read_manifest(tmp_path / "place").plugins == {"weekly": "candelabra-weekly 1.2"}
    assert manifest.plugins == {}


def test_a_sealed_place_is_never_sealed_over(made: Made, tmp_path: Path) -> None:
    draft = tmp_path / "draft"
    draft.mkdir()
    before = bundle_format.file_hashes(made.bundle)
    with pytest.raises(BundleError, match="already exists and a sealed bundle is never changed"):
        seal(draft, made.bundle, {})
    assert bundle_format.file_hashes(made.bundle) == before


@pytest.mark.parametrize("moment", ["write_text", "fsync"])
def test_cut_short_at_any_moment_sealing_leaves_no_half_bundle(
    moment: str, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft, place = tmp_path / "draft", tmp_path / "place"
    shutil.copytree(made.bundle, draft)
    (draft / "bundle.json").unlink()
    manifest = read_manifest(made.bundle)
    values = {k: getattr(manifest, k) for k in manifest.__dataclass_fields__ if k not in ("id", "format", "files")}

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path if moment == "write_text" else os, moment, killed)
        with pytest.raises(KeyboardInterrupt):
            seal(draft, place, values)
    assert not place.exists()
    again = seal(draft, place, values)
    assert again.id == manifest.id
    assert verify(place) == []


FORECAST = """
import sys
from candelabra.bundles.predictor import Predictor
from candelabra.testing.markets import example_candles
(prediction,) = Predictor.open(sys.argv[1]).forecast(example_candles("15m", 4 * 1400, seed=3))
heavy = [m for m in ("torch", "transformers", "lightgbm", "pandas") if m in sys.modules]
import json
print(json.dumps([heavy, prediction.to_dict()]))
"""


def test_a_process_without_torch_gives_the_same_forecast_and_writes_nothing(made: Made, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    # numba's cache lies in the installed package where it can; the home must stay empty: no device id, no telemetry
    kept = {k: v for k, v in os.environ.items() if k not in ("CI", "ORT_DISABLE_TELEMETRY") and not k.startswith("XDG_")}
    environment = kept | {"HOME": str(home), "TMPDIR": str(home), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", FORECAST, str(made.bundle)], capture_output=True, text=True, env=environment, timeout=120, cwd=home
    )
    assert done.returncode == 0, done.stderr
    heavy, prediction = json.loads(done.stdout)
    assert heavy == []
    (here,) = Predictor.open(made.bundle).forecast(made.candles)
    assert prediction == json.loads(json.dumps(here.to_dict()))
    assert [str(p) for p in home.rglob("*") if p.is_file()] == []
    assert done.stderr == ""

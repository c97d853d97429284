"""A bundle's forecasts traded: chosen on validation alone, judged on what came later, the same offline and by command."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from candelabra.bundles.verify import verify
from candelabra.candles.frame import Candles
from candelabra.candles.simulate import simulate
from candelabra.cli import main
from candelabra.config.build import configure
from candelabra.errors import BundleError, DataError, UsageError
from candelabra.pipeline.backtesting import RULE_FILE, backtest_bundle, read_rule, rule_of
from candelabra.pipeline.train import TrainResult, train
from candelabra.sources import write_candles
from candelabra.testing import perturbed_after
from candelabra.trading.rules import Threshold, VolatilityTarget

pytestmark = pytest.mark.slow

CONFIG = configure(
    {
        "timeframes.coarse": ["4h"], "features.base": ["return(1)", "log_rv(6)", "range", "target_hour"],
        "features.coarse": ["return(1)", "range"], "windows.horizons": ["1h", "6h"], "model.width": 16, "model.layers": 1, "model.heads": 2,
        "model.coarse_width": 8, "model.coarse_layers": 1, "model.coarse_heads": 1, "model.attention_width": 8,
        "model.coarse_attention_width": 6, "model.anchor": "har", "training.sequence_length": 48, "training.batch_size": 4,
        "training.steps": 6, "training.evaluate_every": 3, "training.warmup_steps": 3, "training.rehearsal": 0.0,
        "training.precision": "float32", "training.threads": 1, "ensemble.members": ["arms", "har"], "baselines": ["zero", "har"],
        "evaluation.resamples": 100,
    },
    size="tiny",
)  # fmt: skip


@pytest.fixture(scope="module")
def candles() -> list[Candles]:
    return [simulate("AAA/USDT", "1h", bars=4200, seed=8).candles, simulate("BBB/USDT", "1h", bars=4200, seed=9).candles]


@pytest.fixture(scope="module")
def result(candles: list[Candles], tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return train(CONFIG, candles, folder=tmp_path_factory.mktemp("runs") / "whole")


def test_every_run_seals_a_rule_and_shows_its_backtest(result: TrainResult) -> None:
    choice, account = read_rule(result.bundle)
    assert verify(result.bundle) == []
    assert account.per_side == pytest.approx(0.0015)
    assert choice.tried > 20
    assert result.traded is not None
    assert result.traded.rule == choice.rule
    assert result.traded.trials >= choice.tried
    told = json.loads((result.folder / "backtest.json").read_text())
    assert told["rule"]["name"] == choice.rule.name
    assert told["figures"]["growth"] == pytest.approx(result.traded.figures.growth)
    page = result.report.read_text()
    assert "Backtest: what it would have earned" in page
    start, _ = result.traded.span_ms
    cuts = json.loads((result.bundle / "bundle.json").read_text())["ranges"]
    assert start >= cuts["test"][0] - 3_600_000


def test_the_bundle_alone_trades_as_the_run_did(result: TrainResult, candles: list[Candles], tmp_path: Path) -> None:
    found = backtest_bundle(result.bundle, candles, rule=VolatilityTarget(0.2, tolerance=0.05), runs=tmp_path)
    assert not [n for n in found.notes if "CHECK FAILED" in n]
    assert found.study.run.totals["orders"] > 10
    sealed = backtest_bundle(result.bundle, candles, runs=tmp_path)
    assert result.traded is not None
    assert sealed.study.run.grid.close_time[-1] == result.traded.run.grid.close_time[-1]
    assert sealed.study.rule == result.traded.rule
    assert sealed.study.figures.growth == pytest.approx(result.traded.figures.growth, rel=1e-6, abs=1e-9)


def test_what_comes_after_validation_has_no_part_in_the_choice(result: TrainResult, candles: list[Candles], tmp_path: Path) -> None:
    ranges = json.loads((result.bundle / "bundle.json").read_text())["ranges"]
    end = ranges["validation"][1]
    scrambled = [perturbed_after(c, end, seed=k) for k, c in enumerate(candles)]
    free = {"taker": 0.0, "slippage": 0.0}
    tried = {}
    for rule in ("choose", "sweep"):
        plain, other = (backtest_bundle(result.bundle, c, rule=rule, runs=tmp_path, costs=free) for c in (candles, scrambled))  # type: ignore[arg-type]
        assert plain.choice == other.choice
        assert plain.tries is not None
        assert other.tries is not None
        np.testing.assert_array_equal(plain.tries.growth, other.tries.growth)
        assert plain.study.hold.equity[-1] != other.study.hold.equity[-1]  # the judged range did change
        tried[rule] = plain.tries.growth
    earlier = [perturbed_after(c, ranges["validation"][0], seed=k) for k, c in enumerate(candles)]
    moved = backtest_bundle(result.bundle, earlier, rule="choose", runs=tmp_path, costs=free)
    assert moved.tries is not None
    assert (moved.tries.growth != tried["choose"]).any()  # and validation itself does count


def test_every_look_is_counted(result: TrainResult, candles: list[Candles], tmp_path: Path) -> None:
    first, second = (
        backtest_bundle(result.bundle, candles, rule=Threshold("1h", enter=e), runs=tmp_path) for e in (0.001, 0.002)
    )  # fmt: skip
    assert second.study.trials == first.study.trials + 1
    assert any("opened 2 times with 2 rules" in note for note in second.notes)
    assert any("own test range" in note for note in first.notes)


def test_it_refuses_to_choose_or_judge_where_it_must_not(result: TrainResult, candles: list[Candles], tmp_path: Path) -> None:
    ranges = json.loads((result.bundle / "bundle.json").read_text())["ranges"]
    early = [c.between(end_ms=ranges["test"][0]) for c in candles]
    with pytest.raises(DataError, match="never judged on what it learned from"):
        backtest_bundle(result.bundle, early, runs=tmp_path)
    late = [c.between(start_ms=ranges["calibration"][0]) for c in candles]
    with pytest.raises(DataError, match=r"validation range .* no bar of it"):
        backtest_bundle(result.bundle, late, rule="choose", runs=tmp_path)
    assert backtest_bundle(result.bundle, late, runs=tmp_path).study.run.grid.open_time[0] >= ranges["test"][0] - 3_600_000
    for text in ("thresold", "threshold:entre=1", "threshold:enter=much"):
        with pytest.raises(UsageError):
            rule_of(text)
    with pytest.raises(UsageError, match="leverage"):
        backtest_bundle(result.bundle, candles, costs={"leverage": 1000.0}, runs=tmp_path)


def test_a_bundle_without_a_rule_says_how_to_get_one(result: TrainResult, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(result.bundle, old)
    (old / RULE_FILE).unlink()
    with pytest.raises(BundleError, match="--rule choose"):
        read_rule(old)
    (old / RULE_FILE).write_text("{}")
    with pytest.raises(BundleError, match="damaged"):
        read_rule(old)


@pytest.fixture
def files(candles: list[Candles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "candles").mkdir()
    for c in candles:
        write_candles(c, tmp_path / "candles" / f"{c.symbol.replace('/', '')}_1h.parquet")
    return ["candles"]


def test_the_command_prints_a_verdict_and_one_json_document(
    result: TrainResult, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["backtest", str(result.folder), "--candles", *files, "--quiet"]
    assert main([*words, "--rule", "threshold:horizon=1h,signal=median,enter=0,side=both", "--fee-bps", "2", "--html", "bt.html"]) == 0
    out = capsys.readouterr().out
    for due in ("Backtest, net of costs", "break-even cost", "buy-and-hold", "random", "named by hand", "bt.html", "SIMULATED"):
        assert due in out, due
    assert "Backtest: what it would have earned" in Path("bt.html").read_text()
    assert main([*words, "--sweep", "--json"]) == 0
    told = json.loads(capsys.readouterr().out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert told["choice"]["tried"] >= 1000
    assert len(told["validation"]) == 8
    assert told["conclusion"]


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["--rule", "thresold"], 2, "unknown rule"),
        (["--rule", "threshold:enter=much"], 2, "is not a number"),
        (["--rule", "band", "--sweep"], 2, "leave one of them out"),
        (["--leverage", "1000"], 2, "leaves no room"),
        (["--symbol", "CCC/USDT"], 3, "no candles"),
    ],
)
def test_what_cannot_be_is_a_message_and_a_code(
    result: TrainResult, files: list[str], capsys: pytest.CaptureFixture[str], more: list[str], code: int, said: str
) -> None:
    assert main(["backtest", str(result.folder), *files, "--quiet", *more]) == code
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err


def test_without_candles_or_bundle_it_says_what_to_give(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backtest", str(tmp_path)]) == 2
    assert "needs candles" in capsys.readouterr().err
    (tmp_path / "c.csv").write_text("x")
    assert main(["backtest", str(tmp_path), str(tmp_path / "c.csv")]) == 3
    assert "not a bundle" in capsys.readouterr().err


def test_costs_of_the_config_reach_the_account(candles: list[Candles]) -> None:
    from candelabra.pipeline.backtesting import account_of

    account = account_of(replace(CONFIG, trading=replace(CONFIG.trading, fee_bps=4.0, slippage_bps=1.0, funding_bps=2.0)))
    assert (account.taker, account.maker, account.slippage, account.funding) == pytest.approx((0.0004, 0.0002, 0.0001, 0.0002))
    with pytest.raises(UsageError, match=r"trading\.fee_bps"):
        configure({"trading.fee_bps": -1.0})

"""The pytest plugin as its users meet it: tests of their own that pass, fail with column and distance, and choose their market."""

from __future__ import annotations

from pathlib import Path

import pytest

from candelabra.sources import write_candles
from candelabra.testing import example_candles

pytest_plugins = ["pytester"]

PLUGIN = ("-p", "candelabra.pytest_plugin", "-p", "no:cacheprovider")


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess(*PLUGIN, *arguments)


def test_clean_code_passes_and_leaks_fail_with_column_and_distance(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import numpy as np

        def clean(candles):
            return {"body": np.log(candles.close / candles.open)}

        def leaky(candles):
            return {"body": np.log(candles.close / candles.open), "next": np.append(candles.close[2:], [np.nan, np.nan])}

        def late(candles):
            return {"signal": np.append(np.nan, candles.close[:-1])}

        def test_clean(causality_audit):
            assert causality_audit(clean, warm_up=0).passed

        def test_leaky(causality_audit):
            causality_audit(leaky)

        def test_late(causality_audit):
            causality_audit.causal(late)
            causality_audit.streaming(late)
            causality_audit.fresh(late)

        def test_fit(causality_audit):
            until = int(causality_audit.candles.close_time[700])
            causality_audit.fit(lambda candles: {"center": candles.close[:701].mean()}, until)
            causality_audit.fit(lambda candles: {"center": candles.close[:710].mean()}, until)
        """
    )
    result = run(pytester)
    result.assert_outcomes(passed=1, failed=3)
    result.stdout.fnmatch_lines(
        [
            "*next at 2020-01-01 * reads 2 bars ahead (2h)*",
            "*signal is 1 bar late (1h)*",
            "*center reads 9 bars past the end of its range*",
            "causality audits: 7 in * disturbed runs, 3 with findings",
        ]
    )
    assert "Traceback" not in result.stdout.str()


def test_the_market_comes_from_marker_option_or_ini(pytester: pytest.Pytester, tmp_path: Path) -> None:
    path = tmp_path / "MINE_4h.parquet"
    write_candles(example_candles("4h", 400, symbol="MINE/USDT", gaps=False), path)
    pytester.makepyfile(
        """
        import pytest

        def test_default(causality_audit):
            assert causality_audit.candles.symbol == SYMBOL

        @pytest.mark.causality_audit(timeframe="15m", bars=500, seed=3)
        def test_marked(causality_audit):
            if SYMBOL == "SIM/USDT":
                assert causality_audit.candles.timeframe.name == "15m" and len(causality_audit.candles) < 500
        """.replace("SYMBOL", "__import__('os').environ['SYMBOL']")
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYMBOL", "SIM/USDT")
        run(pytester, "--strict-markers").assert_outcomes(passed=2)
        patch.setenv("SYMBOL", "MINE/USDT")
        run(pytester, f"--causality-candles={path}").assert_outcomes(passed=2)
        pytester.makeini(f"[pytest]\ncausality_candles = {path}\n")
        run(pytester).assert_outcomes(passed=2)


def test_an_unknown_word_in_the_marker_is_refused(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.causality_audit(bras=500)
        def test_marked(causality_audit):
            pass
        """
    )
    result = run(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*takes candles, timeframe, bars, seed, gaps by name, got bras*"])


def test_a_run_without_audits_loads_nothing_of_candelabra(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_light():
            loaded = [m for m in ("numpy", "numba", "torch", "pandas", "candelabra.testing", "candelabra.evaluation") if m in sys.modules]
            assert loaded == []
        """
    )
    pytester.runpytest_subprocess(*PLUGIN).assert_outcomes(passed=1)

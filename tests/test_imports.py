"""Importing candelabra, or asking for help, loads nothing heavy: measured in a process of its own."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest

import candelabra

HEAVY = (
    "torch", "transformers", "lightgbm", "ccxt", "aiohttp", "httpx", "pandas", "polars", "fastapi", "uvicorn", "numba", "pyarrow", "plotly",
    "scipy", "onnxruntime", "statemachine",
)  # fmt: skip
VERBS = (
    [], ["demo"], ["check"], ["fetch"], ["import"], ["audit"], ["train"], ["evaluate"], ["forecast"], ["backtest"], ["serve"], ["live"],
    ["doctor"],
    ["features"], ["features", "list"], ["features", "explain"], ["features", "table"],
    ["label"], ["label", "check"], ["label", "make"], ["label", "methods"],
    ["bundle"], ["bundle", "show"], ["bundle", "verify"], ["bundle", "diff"],
    ["config"], ["config", "show"], ["config", "schema"], ["config", "init"],
    ["store"], ["store", "list"], ["store", "verify"], ["store", "repair"], ["store", "compact"], ["store", "export"],
    ["store", "gaps"], ["store", "revisions"],
)  # fmt: skip


def loaded_after(code: str) -> list[str]:
    """Heavy libraries that a fresh process has loaded after ``code``."""
    script = f"{code}\nimport json, sys\nprint('\\n' + json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_measure_sees_a_heavy_library() -> None:
    assert "scipy" in loaded_after("import scipy")


def test_importing_the_package_and_its_command_line_is_light() -> None:
    modules = ("candelabra", "candelabra.errors", "candelabra.progress", "candelabra.cli", "candelabra.cli.app")
    assert loaded_after(f"import {', '.join(modules)}") == []


DOORS = {
    "Candles": "candelabra.candles", "Predictor": "candelabra.bundles.predictor", "configure": "candelabra.config.build",
    "read_candles": "candelabra.sources", "simulate": "candelabra.candles", "train": "candelabra.pipeline.train",
}  # fmt: skip


def test_the_short_doors_lead_to_the_rooms() -> None:
    assert set(candelabra.__all__) == {*DOORS, "__version__"}
    assert set(DOORS) <= set(dir(candelabra))
    for name, room in DOORS.items():
        assert getattr(candelabra, name) is getattr(importlib.import_module(room), name)
    with pytest.raises(AttributeError, match=r"'candelabra' has no attribute 'trian'"):
        _ = candelabra.trian


def test_a_short_door_loads_its_own_room_only() -> None:
    assert loaded_after("import candelabra; dir(candelabra); candelabra.__all__; hasattr(candelabra, 'absent')") == []
    assert set(loaded_after("import candelabra; candelabra.Candles; candelabra.read_candles")) <= {"numba", "scipy"}
    script = "from candelabra import *; import candelabra; assert callable(train) and Predictor and configure and simulate"
    assert "torch" in loaded_after(script)


def test_an_emulated_exchange_loads_a_server_when_it_starts_only() -> None:
    script = "import candelabra.sources.emulator as e; from candelabra.testing import Emulator; Emulator(e.EmulatedMarket('BTC/USDT'))"
    assert not {"aiohttp", "ccxt"} & set(loaded_after(script))
    assert "aiohttp" in loaded_after(f"{script}.__enter__()")


def test_help_of_every_verb_is_light() -> None:
    calls = "; ".join(f"assert main({[*verb, '--help']!r}) == 0" for verb in VERBS)
    assert loaded_after(f"from candelabra.cli import main; {calls}; assert main(['--version']) == 0") == []


NETWORKS = ("torch", "transformers", "lightgbm")
WITHOUT_NETWORKS = (
    "candelabra.candles", "candelabra.sources", "candelabra.features.catalog", "candelabra.features.selection",
    "candelabra.windows.recipe", "candelabra.windows.targets", "candelabra.windows.splits", "candelabra.metrics.forecast",
    "candelabra.models.base", "candelabra.models.settings", "candelabra.models.registry", "candelabra.models.linear",
    "candelabra.models.boosting", "candelabra.models.ensemble", "candelabra.training.settings", "candelabra.bundles.predictor",
    "candelabra.evaluation.skill", "candelabra.evaluation.subjects", "candelabra.evaluation.layers", "candelabra.trading.study",
    "candelabra.trading.sweep", "candelabra.report.certificate", "candelabra.report.page", "candelabra.config.text",
    "candelabra.pipeline.material", "candelabra.bundles.stream", "candelabra.serving.run", "candelabra.regimes.review",
    "candelabra.live.run", "candelabra.live.replay", "candelabra.live.succession",
)  # fmt: skip


def test_rooms_that_serve_and_describe_load_no_network_library() -> None:
    script = f"""
import importlib, json, sys
guilty = {{}}
for module in {WITHOUT_NETWORKS!r}:
    importlib.import_module(module)
    guilty |= {{name: module for name in {NETWORKS!r} if name in sys.modules and name not in guilty}}
print(json.dumps(guilty))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == {}

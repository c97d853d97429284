"""What the service answers is what the bundle says, bit for bit, by every door."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from candelabra.bundles.predictor import Predictor
from candelabra.bundles.sequence import SequenceForecaster
from candelabra.candles.frame import Candles
from candelabra.candles.resample import resample
from candelabra.cli import main
from candelabra.serving.answers import ForecastAnswer
from candelabra.sources.files import write_candles

Ask = Callable[..., httpx.Response]


def plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def test_a_post_says_what_the_command_says_bit_for_bit(
    ask: Ask, body: dict[str, Any], market: Candles, product: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_candles(market, tmp_path / "SIMUSDT_15m.parquet")
    capsys.readouterr()
    assert main(["forecast", str(product), str(tmp_path), "--json", "--quiet"]) == 0
    (printed,) = json.loads(capsys.readouterr().out)["predictions"]
    answer = ask("POST", "/v1/forecast", json=body)
    assert answer.status_code == 200
    told = answer.json()
    assert told.pop("notes") == ["this bundle learned from a simulated market; its forecasts mean nothing for a real one"]
    assert told == printed


def test_rows_columns_and_coarser_candles_beside_them_give_the_same_answer(
    ask: Ask, body: dict[str, Any], market: Candles, columns: Callable[[Candles], Any]
) -> None:
    told = ask("POST", "/v1/forecast", json=body).json()
    rows = [list(row) for row in zip(*body["candles"]["15m"].values(), strict=True)]
    assert ask("POST", "/v1/forecast", json=body | {"candles": {"15m": rows}}).json() == told
    beside = {tf: columns(resample(market, tf)) for tf in ("1h", "4h")}
    both = ask("POST", "/v1/forecast", json=body | {"candles": {**body["candles"], **beside}}).json()
    assert both["log_volatility"] == told["log_volatility"]


def test_as_of_an_earlier_moment_nothing_later_is_read(ask: Ask, body: dict[str, Any], market: Candles, predictor: Predictor) -> None:
    at = int(market.close_time[-100])
    told = ask("POST", "/v1/forecast", json=body | {"at_ms": at}).json()
    (then,) = predictor.forecast(market, at=at)
    told.pop("notes")
    assert told == plain(then.to_dict())


def test_a_symbol_the_bundle_never_saw_is_answered_with_that_note(ask: Ask, body: dict[str, Any]) -> None:
    told = ask("POST", "/v1/forecast", json=body | {"symbol": "XRP/EUR"}).json()
    assert any("this bundle never saw XRP/EUR: it learned from SIM/USDT" in note for note in told["notes"])


def test_the_answer_has_every_field_of_a_prediction(predictor: Predictor, market: Candles) -> None:
    assert {*ForecastAnswer.__struct_fields__} == {*predictor.forecast(market)[0].to_dict(), "notes"}


def test_how_the_service_is_counts_forecasts(ask: Ask, body: dict[str, Any], predictor: Predictor) -> None:
    before = ask("GET", "/health").json()
    ask("POST", "/v1/forecast", json=body)
    after = ask("GET", "/health").json()
    assert (after["status"], after["bundle"], after["waiting"]) == ("ready", predictor.manifest.id, 0)
    assert after["forecasts"] == before["forecasts"] + 1
    assert after["last_forecast_ms"] >= after["started_ms"]
    assert after["last_as_of_ms"] == body["candles"]["15m"]["open_time"][-1] + 900_000


def test_what_the_bundle_needs_is_said(ask: Ask, predictor: Predictor, market: Candles) -> None:
    told = ask("GET", "/v1/bundle").json()
    assert told["needs"] == predictor.manifest.needs
    assert (told["base"], told["coarse"], told["horizons"]) == ("1h", ["4h"], ["1h", "6h"])
    assert told["sequence"]["features"] == list(predictor.series(market).features["1h"].names)
    assert told["sequence"]["rows"] == 11  # 2 layers of 6 bars


@pytest.fixture
def sequence(predictor: Predictor, market: Candles) -> list[list[float]]:
    asked = SequenceForecaster.of(predictor)
    assert asked is not None
    values = predictor.series(market).features["1h"].values[-asked.rows :].astype(float)
    assert np.isfinite(values).all()
    return [list(row) for row in values]


def test_a_sequence_gives_a_return_and_with_a_last_close_a_close(ask: Ask, sequence: list[list[float]]) -> None:
    bare = ask("POST", "/predict", json={"sequence": sequence}).json()
    assert bare["predicted_close"] is None
    assert bare["closes"] is None
    assert (bare["member"], bare["horizon"], bare["scaled"]) == ("arms", "1h", False)
    assert any("typical volatility is assumed" in note for note in bare["notes"])
    told = ask("POST", "/predict", json={"sequence": sequence, "last_close": 200.0}).json()
    assert told["predicted_close"] == 200.0 * math.exp(bare["predicted_return"])
    assert told["returns"] == bare["returns"]
    longer = ask("POST", "/predict", json={"sequence": [[9.0] * len(sequence[0]), *sequence]}).json()
    assert longer == bare  # what lies before the window changes nothing


def test_scaled_and_unscaled_sequences_agree(ask: Ask, sequence: list[list[float]], predictor: Predictor) -> None:
    asked = SequenceForecaster.of(predictor)
    assert asked is not None
    scaled = asked.network.spec.scalers["1h"].transform(np.asarray(sequence, np.float32)).astype(float).tolist()
    a = ask("POST", "/predict", json={"sequence": sequence, "volatility": 0.01}).json()
    b = ask("POST", "/predict", json={"sequence": scaled, "scaled": True, "volatility": 0.01}).json()
    assert a["quantiles"] == b["quantiles"]
    wider = ask("POST", "/predict", json={"sequence": sequence, "volatility": 0.02}).json()
    np.testing.assert_allclose(wider["quantiles"], 2 * np.asarray(a["quantiles"]), rtol=1e-5)


def test_a_sequence_with_the_market_s_own_volatility_says_what_the_network_says_with_silent_arms(
    sequence: list[list[float]], predictor: Predictor, product: Path
) -> None:
    import torch

    from candelabra.models.network import load

    asked = SequenceForecaster.of(predictor)
    assert asked is not None
    module = load(product / "parts" / "ensemble" / "arms").modules[0]
    x = asked.network.spec.scalers["1h"].transform(np.asarray(sequence, np.float32))
    silent = {"1h": torch.from_numpy(x)[None], "4h": torch.zeros(1, 1, module.layout.channels["4h"])}
    silent["15m"] = torch.zeros(1, len(x), module.layout.channels["15m"])
    with torch.inference_mode():
        quantiles, _ = module.head(module.hidden(silent, {"1h>4h": torch.full((1, len(x)), -1)})[:, -1])
    told = asked.forecast(sequence, volatility=0.01).quantiles[0]
    wanted = quantiles[0].numpy() * (0.01 * np.sqrt(np.asarray(asked.steps)))[:, None]
    np.testing.assert_allclose(told, wanted, rtol=1e-4, atol=1e-8)


def test_the_newest_row_moves_what_a_sequence_says(ask: Ask, sequence: list[list[float]]) -> None:
    moved = [*sequence[:-1], [v + 1.0 for v in sequence[-1]]]
    a, b = (ask("POST", "/predict", json={"sequence": s}).json() for s in (sequence, moved))
    assert a["quantiles"] != b["quantiles"]


def test_the_description_has_examples_that_fit_and_the_page_needs_no_network(app: FastAPI, ask: Ask) -> None:
    document = ask("GET", "/openapi.json").json()
    assert set(document["paths"]) == {"/v1/forecast", "/predict", "/health", "/v1/bundle"}
    for path in ("/v1/forecast", "/predict"):
        given = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["examples"]
        assert len(given) == 2
        for example in given.values():
            answer = ask("POST", path, json=example["value"])  # well formed, and too short by what is needed
            assert answer.status_code == 422
            assert re.search("are needed|give more candles", answer.json()["error"]["message"]), answer.text
    page = ask("GET", "/docs")
    assert page.status_code == 200
    assert "/v1/forecast" in page.text
    assert "<script" not in page.text
    assert "http:" not in page.text
    assert "https:" not in page.text

"""What one writes first: FastAPI with a pydantic body, the network in torch. The same bundle, candles and features as ours."""

from __future__ import annotations

import json
import socket
import sys
from dataclasses import asdict
from pathlib import Path

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from candelabra.bundles.format import read_manifest
from candelabra.bundles.predictor import Predictor
from candelabra.candles.frame import Candles
from candelabra.metrics.calibration import Calibration
from candelabra.models.network import load
from candelabra.windows.recipe import Recipe


class Columns(BaseModel):
    open_time: list[int]
    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]
    volume: list[float]


class Body(BaseModel):
    symbol: str
    candles: dict[str, Columns]


app = FastAPI()
folder = Path(sys.argv[1])
manifest = read_manifest(folder)
torch.set_num_threads(1)
predictor = Predictor(
    manifest, Recipe.of(manifest.recipe), load(folder / "parts" / manifest.model), Calibration.load(folder / "calibration.json")
)


@app.post("/v1/forecast")
def forecast(body: Body) -> dict[str, object]:
    made = [Candles.of(body.symbol, tf, c.open_time, c.open, c.high, c.low, c.close, c.volume) for tf, c in body.candles.items()]
    return asdict(predictor.forecast(made)[0])


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(json.dumps({"url": f"http://127.0.0.1:{listening.getsockname()[1]}"}, indent=1), flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])

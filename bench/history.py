"""A whole history at once against window by window; one new candle through the cached step, and its features."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from bench import networks
from bench.item import Goal, Item, Reading, Tool
from bench.timing import cpu_seconds, digest

_BARS = 20_000


def _asked(bars: int) -> Any:
    return np.linspace(2000, bars - 1, 24).astype(np.int64)


def _history(small: bool) -> dict[str, Reading]:
    import torch

    from candelabra.models.network import history_pass

    torch.set_num_threads(1)
    bars = 3000 if small else _BARS
    network, prepared = networks.small(), networks.prepared(bars)
    quantiles, volatility = history_pass(network, prepared, 0, bars)
    seal = digest(quantiles[_asked(bars)], volatility[_asked(bars)], digits=4)
    seconds = cpu_seconds(lambda: history_pass(network, prepared, 0, bars), 1 if small else 3, warm_up=0)
    return {"": Reading(bars / seconds, "bars/CPU s", seal)}


def _windows(small: bool) -> dict[str, Reading]:
    import torch

    torch.set_num_threads(1)
    bars = 3000 if small else _BARS
    network, prepared = networks.small(), networks.prepared(bars)
    rows = _asked(bars)
    quantiles, volatility = _window_by_window(network, prepared, rows)
    seal = digest(quantiles, volatility, digits=4)
    seconds = cpu_seconds(lambda: _window_by_window(network, prepared, rows), 1 if small else 3, warm_up=0)
    return {"": Reading(len(rows) / seconds, "bars/CPU s", seal, f"{len(rows)} windows in batches of 8")}


def _window_by_window(network: Any, prepared: Any, rows: Any) -> tuple[Any, Any]:
    """The same network on a fresh full window of every arm for each row."""
    import torch

    from candelabra.models.settings import receptive_field

    s = network.settings
    base = receptive_field(s.layers, s.attention_width)
    own = receptive_field(s.coarse_layers, s.coarse_attention_width)
    found = []
    for first in range(0, len(rows), 8):
        group = rows[first : first + 8]
        span = group[:, None] + np.arange(1 - base, 1)
        x, asof = {"1h": torch.from_numpy(prepared.x["1h"][np.maximum(span, 0)])}, {}
        for tf, ratio in (("4h", 4), ("1d", 24)):
            length = base // ratio + 2 + own
            last = prepared.asof[f"1h>{tf}"][group]
            taken = last[:, None] + np.arange(1 - length, 1)
            x[tf] = torch.from_numpy(prepared.x[tf][np.maximum(taken, 0)])
            local = prepared.asof[f"1h>{tf}"][np.maximum(span, 0)] - taken[:, :1]
            asof[f"1h>{tf}"] = torch.from_numpy(np.maximum(local, -1).astype(np.int64))
        with torch.inference_mode():
            q, v = network.head(network.hidden(x, asof)[:, -1])
        found.append((q.numpy(), v.numpy()))
    return np.concatenate([q for q, _ in found]), np.concatenate([v for _, v in found])


HISTORY = Item(
    "main/history",
    "forecasts of `small` (1h, 4h, 1d arms; receptive field 509 bars) at every bar of a history",
    {"candelabra": Tool(_history, ("torch",)), "window by window": Tool(_windows, ("torch",))},
    (Goal("candelabra", "", lambda v: v["candelabra"][""] / v["window by window"][""], ">= 30"),),
    reference="window by window",
)


# main/step


class _Feed:
    """A stream and the numbers that come in, with the coarse bars at their times."""

    def __init__(self, network: Any, prepared: Any) -> None:
        import torch

        from candelabra.models.stream import ArmsStream

        self.stream = ArmsStream(network)
        self.x = {tf: torch.from_numpy(values) for tf, values in prepared.x.items()}
        self.at = 0

    def push(self, repeats: int) -> list[float]:
        """CPU milliseconds of each of the next bars, coarse bars that close with it included."""
        laps = []
        rows = len(self.x["1h"])
        for _ in range(repeats):
            start = time.thread_time()
            for tf, ratio in (("1d", 24), ("4h", 4)):
                if (self.at + 1) % ratio == 0:
                    self.stream.push_coarse(tf, self.x[tf][(self.at + 1) // ratio % len(self.x[tf]) - 1])
            self.out = self.stream.push(self.x["1h"][self.at % rows])
            laps.append(1e3 * (time.thread_time() - start))
            self.at += 1
        return laps


def _step(small: bool) -> dict[str, Reading]:
    import torch

    from candelabra.models.network import history_pass

    torch.set_num_threads(1)
    network, prepared = networks.small(), networks.prepared(2400)
    young, old = _Feed(network, prepared), _Feed(network, prepared)
    young.push(960)
    quantiles = np.stack([(young.push(1), young.out[0].numpy())[1] for _ in range(48)])
    exact = history_pass(network, prepared, 960, 1008)[0]
    error = float(np.abs(quantiles - exact).max() / np.abs(exact).max())
    old.push(1500 if small else 100_000)
    laps: dict[str, list[float]] = {"young": [], "old": []}
    for _ in range(2 if small else 40):
        laps["young"] += young.push(24)
        laps["old"] += old.push(24)
    young_ms, old_ms = np.array(laps["young"]), np.array(laps["old"])
    note = f"median {np.median(young_ms):.2f}, p99 {np.percentile(young_ms, 99):.2f}; equal to the history pass within {error:.0e}"
    return {
        "": Reading(float(young_ms.mean()), "CPU ms per bar", note=f"mean over whole days, coarse bars included; {note}"),
        "old": Reading(float(np.median(old_ms)), "CPU ms, median", note=f"after {old.at:,} bars"),
        "young": Reading(float(np.median(young_ms)), "CPU ms, median", note=f"after {young.at:,} bars"),
        "error": Reading(error, "relative to the history pass"),
    }


def _newest_features(small: bool) -> dict[str, Reading]:
    from bench import market
    from candelabra.candles import Candles, resample
    from candelabra.features.catalog import compute, compute_tail, parse
    from candelabra.windows.alignment import asof_index
    from candelabra.windows.recipe import Recipe, features_of

    recipe = Recipe("1h", coarse=("4h", "1d"))
    count = 3_000 if small else 50_000
    c = market.columns(count)
    hours = market.START_MS + 3_600_000 * np.arange(count, dtype=np.int64)
    base = Candles.of("WALK/USDT", "1h", hours, c["open"], c["high"], c["low"], c["close"], c["volume"])
    coarse = {tf.name: resample(base, tf) for tf in recipe.coarse}
    specs = {tf.name: [parse(s) for s in features_of(recipe, tf)] for tf in (recipe.base, *recipe.coarse)}
    whole = compute(base, specs["1h"]).values
    laps, worst = [], 0.0
    for row in range(count - (48 if small else 500), count):
        now = base.rows(slice(0, row + 1))
        closed = {tf: k.rows(slice(0, int(np.searchsorted(k.close_time, now.close_time[-1], "right")))) for tf, k in coarse.items()}
        start = time.thread_time()
        table = compute_tail(now, specs["1h"], 1)
        for tf, candles in closed.items():
            if candles.close_time[-1] == now.close_time[-1]:
                compute_tail(candles, specs[tf], 1)
            asof_index(now.close_time[-1:], candles.close_time)
        laps.append(1e3 * (time.thread_time() - start))
        worst = max(worst, float(np.nanmax(np.abs(table.values[0] - whole[row]))))
    note = f"median {np.median(laps):.2f}; {sum(map(len, specs.values()))} features at three timeframes; largest difference {worst:.0e}"
    return {"features": Reading(float(np.percentile(laps, 99)), "CPU ms, p99", note=note)}


STEP = Item(
    "main/step",
    "one new candle through `small` with its caches, and its features and alignment",
    {"candelabra": Tool(_step, ("torch",)), "features": Tool(_newest_features)},
    (
        Goal("candelabra", "", lambda v: v["candelabra"][""], "<= 1", absolute=True),
        Goal("candelabra", "old", lambda v: v["candelabra"]["old"] / v["candelabra"]["young"], "< 1.1"),
        Goal("candelabra", "error", lambda v: v["candelabra"]["error"], "<= 1e-5"),
        Goal("features", "features", lambda v: v["features"]["features"], "<= 5", absolute=True),
    ),
    rounds=1,
)

ITEMS = (HISTORY, STEP)

"""A stream of bars gives what one pass over the whole history gives, and a pass does not depend on where it starts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from candelabra.errors import UsageError
from candelabra.models import network as network_module
from candelabra.models.arms import ArmsLayout, ArmsNetwork
from candelabra.models.inputs import Prepared
from candelabra.models.network import history_pass
from candelabra.models.settings import ArmsSettings, receptive_field
from candelabra.models.stream import ArmsStream

TINY = ArmsSettings(
    width=16, layers=2, heads=2, coarse_width=8, coarse_layers=2, coarse_heads=1, attention_width=8, coarse_attention_width=5,
    dropout=0.2, arm_dropout=0.2,
)  # fmt: skip
BARS = 200  # 13 receptive fields of the base arm, 5 of the coarse one
FUSIONS = pytest.mark.parametrize("fusion", ["cross", "hierarchical", "concat"])


def network_of(fusion: str) -> ArmsNetwork:
    settings = replace(TINY, fusion=fusion)  # type: ignore[arg-type]
    layout = ArmsLayout("1h", ("4h", "1d"), ("15m",), {"1h": 5, "4h": 3, "1d": 2, "15m": 8})
    levels = np.linspace(-2, 2, 21, dtype=np.float32)
    network = ArmsNetwork(settings, layout, np.stack([levels, 2 * levels]), np.ones(2, np.float32))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                # about what training gives: with larger ones the head's exponentials blow up float32's rounding, which differs by machine
                parameter.normal_(0, 0.2, generator=generator)
    return network.eval()


def history(seed: int = 0) -> Prepared:
    """Base bars of which every fourth closes a 4h bar and every 24th a day, and coarse bars begin late."""
    random = np.random.default_rng(seed)
    rows = {"4h": BARS // 4, "1d": BARS // 24}
    x = {"1h": (BARS, 5), "15m": (BARS, 8), "4h": (rows["4h"], 3), "1d": (rows["1d"], 2)}
    base = np.arange(BARS)
    asof = {"1h>4h": (base + 1) // 4 - 1, "1h>1d": (base + 1) // 24 - 1, "4h>1d": (np.arange(rows["4h"]) + 1) // 6 - 1}
    return Prepared(
        {tf: random.normal(size=shape).astype(np.float32) for tf, shape in x.items()},
        {name: index.astype(np.int32) for name, index in asof.items()},
        np.zeros((BARS, 2)),
        0,
    )


def streamed(network: ArmsNetwork, prepared: Prepared, start: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Bars pushed in the order they closed, coarsest first where several close together; base bars from ``start`` on."""
    stream = ArmsStream(network)
    known = dict.fromkeys(("4h", "1d"), -1)
    quantiles, volatility = [], []
    for t in range(BARS):
        for tf in ("1d", "4h"):
            now = int(prepared.asof[f"1h>{tf}"][t])
            for row in range(known[tf] + 1, now + 1):
                stream.push_coarse(tf, torch.from_numpy(prepared.x[tf][row]))
            known[tf] = now
        if t < start:
            continue
        q, v = stream.push(torch.from_numpy(prepared.x["1h"][t]), {"15m": torch.from_numpy(prepared.x["15m"][t])})
        quantiles.append(q.numpy().copy())
        volatility.append(v.numpy().copy())
    assert stream.bars == BARS - start
    return np.stack(quantiles), np.stack(volatility)


def near(a: NDArray[np.float32], b: NDArray[np.float32], spread_of: NDArray[np.float32]) -> bool:
    """Law 3's measure."""
    return bool((np.abs(a - b) <= 1e-5 * np.maximum(np.abs(b), spread_of.std(axis=0))).all())


def of_layout(network: ArmsNetwork, prepared: Prepared) -> Prepared:
    links = {f"{f}>{c}" for f, c in network.layout.links(network.settings)}
    return replace(prepared, asof={name: index for name, index in prepared.asof.items() if name in links})


@FUSIONS
def test_a_stream_equals_the_pass_over_the_whole_history(fusion: str) -> None:
    network, prepared = network_of(fusion), history()
    batch = history_pass(network, of_layout(network, prepared), 0, BARS)
    for live, whole in zip(streamed(network, prepared), batch, strict=True):
        assert near(live, whole, whole)
        assert whole.std() > 0.05


@FUSIONS
def test_a_stream_that_began_late_equals_the_pass_once_it_has_seen_the_receptive_field(fusion: str) -> None:
    network, prepared = network_of(fusion), history(1)
    batch = history_pass(network, of_layout(network, prepared), 0, BARS)[0]
    field = receptive_field(TINY.layers, TINY.attention_width)
    start = 96
    late = streamed(network, prepared, start)[0]
    # the base arm of the late stream knows nothing before its start
    assert near(late[field - 1 :], batch[start + field - 1 :], batch)
    assert not near(late[: field - 1], batch[start : start + field - 1], batch)


@FUSIONS
def test_a_pass_from_a_later_start_and_in_segments_equals_the_whole_pass(fusion: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of(fusion)
    prepared = of_layout(network, history(2))
    whole = history_pass(network, prepared, 0, BARS)
    for start, stop in ((3, 40), (77, BARS), (BARS - 1, BARS)):
        for part, all_ in zip(history_pass(network, prepared, start, stop), whole, strict=True):
            assert part.shape[0] == stop - start
            assert near(part, all_[start:stop], all_)
    monkeypatch.setattr(network_module, "_SEGMENT", 17)
    for part, all_ in zip(history_pass(network, prepared, 5, BARS), whole, strict=True):
        assert near(part, all_[5:], all_)


def test_a_bar_of_a_timeframe_the_network_does_not_have_is_refused() -> None:
    stream = ArmsStream(network_of("cross"))
    with pytest.raises(UsageError, match=r"no 2h arm: its coarse timeframes are 4h, 1d"):
        stream.push_coarse("2h", torch.zeros(3))

"""Batches gathered by index are what slicing gives, know no coarse bar before its close, and never mix symbols."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from candelabra.errors import DataError
from candelabra.windows.batches import RowWindows, SequenceBatches, SequencePart

FACTOR = {"4h": 4, "1d": 24}


def part(bars: int, symbol: int, rows: tuple[int, int], hierarchical: bool) -> SequencePart:
    """Every value says where it comes from: symbol x 1e5 + row, so that any mix-up is seen."""
    base = np.arange(bars)
    x = {"1h": np.column_stack([1e5 * symbol + base, -base]), "15m": 1e5 * symbol + np.column_stack([base] * 3)}
    for tf, factor in FACTOR.items():
        x[tf] = 1e5 * symbol + np.arange(bars // factor)[:, None]
    asof = {"1h>4h": (base + 1) // 4 - 1}
    if hierarchical:
        asof["4h>1d"] = (np.arange(bars // 4) + 1) // 6 - 1
    else:
        asof["1h>1d"] = (base + 1) // 24 - 1
    targets = (1e5 * symbol + base)[:, None]
    return SequencePart(
        {tf: v.astype(np.float32) for tf, v in x.items()},
        {name: v.astype(np.int32) for name, v in asof.items()},
        targets.astype(np.float32),
        rows,
    )


def batches_of(parts: list[SequencePart], hierarchical: bool, length: int = 16) -> SequenceBatches:
    links = (("1h", "4h"), ("4h", "1d")) if hierarchical else (("1h", "4h"), ("1h", "1d"))
    coarse = {"4h": length // 4 + 1 + 3, "1d": length // 24 + 1 + 3}
    return SequenceBatches(parts, base="1h", aligned=("15m",), coarse=coarse, links=links, length=length)


@given(rows=st.integers(1, 40), length=st.integers(1, 12), channels=st.integers(1, 4), data=st.data())
def test_a_gathered_window_is_a_slice(rows: int, length: int, channels: int, data: st.DataObject) -> None:
    table = np.random.default_rng(rows).normal(size=(rows, channels)).astype(np.float32)
    if rows < length:
        with pytest.raises(DataError, match=f"window of {length} bars does not fit into {rows}"):
            RowWindows(table, length)
        return
    windows = RowWindows(table, length)
    starts = data.draw(st.lists(st.integers(0, rows - length), min_size=1, max_size=6))
    taken = windows.take(torch.tensor(starts)).numpy()
    np.testing.assert_array_equal(taken, np.stack([table[s : s + length] for s in starts]))


def test_windows_share_the_memory_of_their_table() -> None:
    windows = RowWindows(np.zeros((10_000, 8), np.float32), 512)
    assert windows._view.untyped_storage().nbytes() == 10_000 * 8 * 4


@pytest.mark.parametrize("hierarchical", [False, True])
@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_every_bar_of_a_batch_knows_what_the_as_of_index_says(hierarchical: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    parts = [part(150, 1, (0, 130), hierarchical), part(90, 2, (5, 90), hierarchical)]
    batches = batches_of(parts, hierarchical)
    order = batches.starts(int(random.integers(1, 20)), random)
    for first in range(0, len(order), 5):
        chosen = order[first : first + 5]
        batch = batches.gather(chosen)
        for i, (symbol, row) in enumerate(chosen):
            own = parts[symbol]
            for tf in ("1h", "15m"):
                np.testing.assert_array_equal(batch.x[tf][i].numpy(), own.x[tf][row : row + 16])
            np.testing.assert_array_equal(batch.targets[i].numpy(), own.targets[row : row + 16])
            for name, local in batch.asof.items():
                finer, coarser = name.split(">")
                seen = batch.x[coarser][i, :, 0].numpy()
                if finer == "1h":
                    known = own.asof[name][row : row + 16]
                else:  # rows of the 4h window of this sequence; 0 is padding before the history
                    fine_rows = batch.x["4h"][i, :, 0].numpy() - 1e5 * (symbol + 1)
                    known = np.array([own.asof[name][int(r)] if r >= 0 else -1 for r in fine_rows])
                for t, (index, wanted) in enumerate(zip(local[i].tolist(), known.tolist(), strict=True)):
                    if index >= 0:
                        assert seen[index] == 1e5 * (symbol + 1) + wanted, (name, t)
                    else:
                        assert wanted == -1, (name, t)
            for tf in FACTOR:  # nothing of another symbol, and nothing that closes after the last base bar
                values = batch.x[tf][i, :, 0].numpy()
                inside = values[values != 0]
                assert ((inside >= 1e5 * (symbol + 1)) & (inside < 1e5 * (symbol + 2))).all()
                assert inside.max(initial=0) <= 1e5 * (symbol + 1) + (row + 16) // FACTOR[tf] - 1


def test_a_wrong_index_would_be_seen() -> None:
    parts = [part(150, 1, (0, 130), False)]
    parts[0].asof["1h>4h"][:] += 1  # a leak of one coarse bar
    batch = batches_of(parts, False).gather(np.array([[0, 40]]))
    seen = batch.x["4h"][0, :, 0].numpy()[batch.asof["1h>4h"][0, -1]]
    assert seen > 1e5 + (40 + 16) // 4 - 1


@given(stride=st.integers(1, 40), seed=st.integers(0, 1000), rows=st.tuples(st.integers(0, 30), st.integers(60, 140)))
def test_every_training_bar_is_visited_in_every_pass(stride: int, seed: int, rows: tuple[int, int]) -> None:
    parts = [part(150, 1, rows, False), part(150, 2, (10, 26), False), part(150, 3, (0, 9), False)]
    length = 16
    batches = batches_of(parts, False, length)
    order = batches.starts(min(stride, length), np.random.default_rng(seed))
    for symbol, (start, stop) in enumerate((rows, (10, 26))):
        own = order[order[:, 0] == symbol, 1]
        visited = np.unique(own[:, None] + np.arange(length))
        np.testing.assert_array_equal(visited, np.arange(start, stop))
        assert len(np.unique(own)) == len(own)
    assert not (order[:, 0] == 2).any()  # too short for a sequence, and not stretched into its neighbour


def test_batches_follow_the_order_they_are_given() -> None:
    batches = batches_of([part(150, 1, (0, 130), False)], False)
    order = batches.starts(5, np.random.default_rng(0))
    firsts = np.concatenate([b.x["1h"][:, 0, 0].numpy() - 1e5 for b in batches.batches(order, 7)])
    np.testing.assert_array_equal(firsts, order[:, 1])


def test_training_rows_shorter_than_a_sequence_are_refused_with_the_figure() -> None:
    with pytest.raises(DataError, match=r"longest run of training bars is 12, shorter than a sequence of 16"):
        batches_of([part(150, 1, (0, 12), False)], False)

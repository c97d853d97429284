"""Scalers: train rows only, there and back, through JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from candelabra.errors import BundleError, DataError, UsageError
from candelabra.features.scaling import Scaler, ScalerSettings, fit_scaler

FITTED = ["standard", "robust", "minmax", "none"]
TABLES = hnp.arrays(np.float64, st.tuples(st.integers(3, 60), st.integers(1, 4)), elements=st.floats(-1e4, 1e4, width=32))


def _names(values: np.ndarray) -> list[str]:
    return [f"c{i}" for i in range(values.shape[1])]


@given(values=TABLES, kind=st.sampled_from([*FITTED, "per_window"]))
def test_there_and_back_gives_the_value_again(values: np.ndarray, kind: str) -> None:
    scaler = fit_scaler(values, np.ones(len(values), bool), _names(values), ScalerSettings(kind, clip=None))
    scaled = scaler.transform(values)
    back = scaler.inverse(scaled, values)
    reference = np.abs(values).max() + np.abs(scaled).max() * scaler.scale.max()
    np.testing.assert_allclose(back, values, atol=1e-6 * max(reference, 1e-9))


@given(values=TABLES, kind=st.sampled_from(FITTED), noise=st.integers(0, 99))
def test_fitting_reads_train_rows_only(values: np.ndarray, kind: str, noise: int) -> None:
    train = np.arange(len(values)) < len(values) * 2 // 3
    other = values.copy()
    other[~train] = np.random.default_rng(noise).normal(0, 1e6, other[~train].shape)
    a, b = (fit_scaler(v, train, _names(values), ScalerSettings(kind)) for v in (values, other))
    np.testing.assert_array_equal(a.center, b.center)
    np.testing.assert_array_equal(a.scale, b.scale)


@given(values=TABLES, kind=st.sampled_from([*FITTED, "per_window"]))
def test_json_keeps_every_bit(values: np.ndarray, kind: str) -> None:
    scaler = fit_scaler(values, np.ones(len(values), bool), _names(values), ScalerSettings(kind, fill=0.0))
    again = Scaler.from_dict(json.loads(json.dumps(scaler.to_dict())))
    np.testing.assert_array_equal(scaler.transform(values), again.transform(values))
    assert again.settings == scaler.settings


def test_standard_robust_and_minmax_do_what_their_names_say() -> None:
    values = np.random.default_rng(0).normal(5, 2, (4000, 1))
    everything = np.ones(4000, bool)
    for kind in ("standard", "robust"):
        scaled = fit_scaler(values, everything, ["x"], ScalerSettings(kind, clip=None)).transform(values)
        assert abs(scaled.mean()) < 0.05
        assert abs(scaled.std() - 1) < 0.05
    scaled = fit_scaler(values, everything, ["x"], ScalerSettings("minmax")).transform(values)
    assert (scaled.min(), scaled.max()) == (0, 1)


def test_a_channel_that_never_changes_is_only_centred() -> None:
    values = np.full((50, 1), 0.1, np.float32)
    for kind in ("standard", "robust", "minmax"):
        scaler = fit_scaler(values, np.ones(50, bool), ["x"], ScalerSettings(kind))
        assert (scaler.transform(values) == 0).all()
        assert scaler.transform(values + 1)[0, 0] == pytest.approx(1)


def test_a_rare_marker_keeps_a_scale_under_the_robust_scaler() -> None:
    values = np.zeros((1000, 1))
    values[::100] = 3.0
    assert fit_scaler(values, np.ones(1000, bool), ["gap"], ScalerSettings("robust")).scale[0] == pytest.approx(values.std())


def test_outliers_are_clipped_and_the_unknown_stays_unknown_or_is_filled() -> None:
    values = np.array([[0.0], [1.0], [2.0], [1e9], [np.nan]])
    train = np.array([True, True, True, False, False])
    clipped = fit_scaler(values, train, ["x"], ScalerSettings(clip=8)).transform(values)
    assert clipped[3, 0] == 8
    assert np.isnan(clipped[4, 0])
    assert fit_scaler(values, train, ["x"], ScalerSettings(fill=0.0)).transform(values)[4, 0] == 0


def test_several_symbols_are_pooled() -> None:
    a, b = np.full((10, 1), 1.0), np.full((30, 1), 5.0)
    pooled = fit_scaler([a, b], [np.ones(10, bool), np.arange(30)], ["x"])
    assert pooled.center[0] == pytest.approx(4.0)


def test_a_window_scaler_is_causal_and_the_same_from_a_tail() -> None:
    random = np.random.default_rng(1)
    values = random.normal(0, 1, (9000, 2)).cumsum(0)
    values[::37] = np.nan
    scaler = fit_scaler(values, np.zeros(9000, bool), ["a", "b"], ScalerSettings("per_window", window=100))
    full = scaler.transform(values)
    shaken = values.copy()
    shaken[8500:] += 50
    np.testing.assert_array_equal(scaler.transform(shaken)[:8500], full[:8500])
    for row in (150, 8191, 8192, 8999):
        tail = scaler.transform(values[row - scaler.warm_up : row + 1])[-1]
        np.testing.assert_allclose(tail, full[row], atol=1e-5)


def test_one_row_scales_to_the_bit_as_the_whole_table_does() -> None:
    values = np.asfortranarray(np.random.default_rng(2).normal(3, 2, (20_000, 5)).astype(np.float32))
    scaler = fit_scaler(values, np.arange(9000), _names(values))
    full = scaler.transform(values)
    assert full.flags.c_contiguous
    for row in (0, 8192, 19_999):
        np.testing.assert_array_equal(scaler.transform(values[row : row + 1]), full[row : row + 1])


def test_what_cannot_be_is_said_with_a_way_out() -> None:
    with pytest.raises(UsageError, match='did you mean "robust"'):
        ScalerSettings("robst")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="clip must be above 0"):
        ScalerSettings(clip=-1)
    with pytest.raises(UsageError, match="at least 2 rows"):
        ScalerSettings(window=1)
    with pytest.raises(DataError, match="channel b has no value in the train rows"):
        fit_scaler(np.array([[1, np.nan], [2, 3]]), np.array([True, False]), ["a", "b"])
    scaler = fit_scaler(np.eye(3), np.ones(3, bool), ["a", "b", "c"], ScalerSettings("per_window"))
    with pytest.raises(DataError, match="fitted on 3 channels"):
        scaler.transform(np.ones((2, 2)))
    with pytest.raises(UsageError, match="reference"):
        scaler.inverse(np.eye(3))
    with pytest.raises(BundleError, match="not a scaler"):
        Scaler.from_dict({"kind": "standard"})
    broken = scaler.to_dict() | {"scale": [1.0, 0.0, 1.0]}
    with pytest.raises(BundleError, match="cannot be"):
        Scaler.from_dict(broken)
    with pytest.raises(UsageError, match="2 tables and 1 sets"):
        fit_scaler([np.eye(3), np.eye(3)], [np.ones(3, bool)], ["a", "b", "c"])

"""Refit on every fold, forecast its test block, judge all blocks together; a fold that is done is never fitted again."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from candelabra.errors import CandelabraError, UsageError
from candelabra.evaluation.calibration import fit_calibration, outcomes
from candelabra.evaluation.judged import Part
from candelabra.metrics.calibration import Calibration, apply_calibration
from candelabra.models.base import FitData, FittedModel, ModelOutput, concatenate
from candelabra.windows.series import Series
from candelabra.windows.splits import Split
from candelabra.windows.targets import Targets

__all__ = ["walk_forward"]

Fit = Callable[[FitData], FittedModel]


def walk_forward(
    fits: Mapping[str, Fit],
    series: Sequence[Series],
    targets: Sequence[Targets],
    folds: Sequence[Split],
    folder: Path,
    *,
    settings: Mapping[str, str],
    seed: int = 0,
    on_fold: Callable[[int, str, bool], None] | None = None,
) -> list[Part]:
    """Forecasts of every model at the test rows of all ``folds``, one `Part` per symbol for ``evaluate``.

    ``fits`` by model name: learns from a fold's train and validation rows. Each fold is then calibrated on its own calibration rows
    (mean shrunk on validation) before its test rows are forecast. ``folder`` keeps one file per fold and model, named by what determines
    it: name, ``settings[name]`` (a text that changes with everything the fit depends on), seed, data and rows; a file that is there is
    read instead of fitted, one that is damaged is made again. ``on_fold(fold, name, fitted)`` is told of each. The reference
    of the evaluation comes from the first fold's train rows. Raises UsageError when settings are missing or test rows overlap.
    """
    if missing := [name for name in fits if name not in settings]:
        raise UsageError(f"walk-forward needs a settings text for {', '.join(missing)}: without it a changed model would reuse old folds")
    if not folds or not series:
        raise UsageError("walk-forward needs at least one fold and one symbol")
    for s, one in enumerate(series):
        if np.any(np.diff(np.concatenate([f.test[s] for f in folds])) <= 0):
            raise UsageError(f"{one.symbol}: test rows of the folds overlap or are not in order of time")
    folder.mkdir(parents=True, exist_ok=True)
    data = _data_fingerprint(series, targets)
    done: dict[str, list[tuple[list[ModelOutput], Calibration]]] = {name: [] for name in fits}
    for number, fold in enumerate(folds):
        for name, fit in fits.items():
            path = folder / f"{name}-{number}-{_key(name, settings[name], seed, data, fold)}.npz"
            found = _read(path)
            if found is None:
                found = _one_fold(fit, series, targets, fold, seed)
                _write(path, *found)
                if on_fold:
                    on_fold(number, name, True)
            elif on_fold:
                on_fold(number, name, False)
            done[name].append(found)
    return [_part(s, series[s], targets[s], folds, done) for s in range(len(series))]


def _one_fold(
    fit: Fit, series: Sequence[Series], targets: Sequence[Targets], fold: Split, seed: int
) -> tuple[list[ModelOutput], Calibration]:
    fitted = fit(FitData(tuple(series), tuple(targets), fold.train, fold.validation, seed))

    def at(rows: Sequence[NDArray[np.int64]]) -> list[ModelOutput]:
        return [fitted.predict(one, r) for one, r in zip(series, rows, strict=True)]

    calibration = fit_calibration(
        [h.name for h in targets[0].horizons],
        targets[0].steps,
        outcomes(targets, fold.validation, at(fold.validation)),
        outcomes(targets, fold.calibration, at(fold.calibration)),
    )
    return [apply_calibration(output, calibration) for output in at(fold.test)], calibration


def _part(
    s: int, one: Series, targets: Targets, folds: Sequence[Split], done: Mapping[str, list[tuple[list[ModelOutput], Calibration]]]
) -> Part:
    counts = [len(f.test[s]) for f in folds]
    return Part(
        one.symbol,
        targets,
        one.close_time,
        np.concatenate([f.test[s] for f in folds]),
        folds[0].train[s],
        {name: concatenate([outputs[s] for outputs, _ in results]) for name, results in done.items()},
        {name: np.repeat([c.variance_scale for _, c in results], counts, axis=0) for name, results in done.items()},
    )


def _data_fingerprint(series: Sequence[Series], targets: Sequence[Targets]) -> str:
    digest = hashlib.sha256()
    for one, target in zip(series, targets, strict=True):
        digest.update(one.symbol.encode())
        candles = one.base_candles
        for array in (one.close_time, candles.close, candles.volume, target.returns, target.log_volatility):
            digest.update(np.ascontiguousarray(array).tobytes())
        for name in sorted(one.features):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(one.features[name].values).tobytes())
    return digest.hexdigest()


def _key(name: str, settings: str, seed: int, data: str, fold: Split) -> str:
    digest = hashlib.sha256(json.dumps([name, settings, seed, data]).encode())
    for rows in (*fold.train, *fold.validation, *fold.calibration, *fold.test):
        digest.update(len(rows).to_bytes(8, "little"))
        digest.update(np.ascontiguousarray(rows, dtype="<i8").tobytes())
    return digest.hexdigest()[:20]


def _write(path: Path, outputs: list[ModelOutput], calibration: Calibration) -> None:
    """Whole or not at all: a temporary file beside it, flushed to disk, then renamed."""
    arrays: dict[str, Any] = {}
    for s, output in enumerate(outputs):
        arrays |= {f"quantiles{s}": output.quantiles, f"mean{s}": output.mean, f"log_volatility{s}": output.log_volatility}
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, levels=np.array(outputs[0].levels), calibration=np.array(calibration.to_json()), **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _read(path: Path) -> tuple[list[ModelOutput], Calibration] | None:
    """What `_write` wrote; None when the file is absent or damaged."""
    if not path.exists():
        return None
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            levels = tuple(float(x) for x in file["levels"])
            count = sum(name.startswith("mean") for name in file.files)
            outputs = [ModelOutput(file[f"quantiles{s}"], file[f"mean{s}"], file[f"log_volatility{s}"], levels) for s in range(count)]
            return outputs, Calibration.from_json(str(file["calibration"]))
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, CandelabraError):
        return None

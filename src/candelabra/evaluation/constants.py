"""Everything a fitted model saves, as arrays by name: what must keep its bits when ranges it may not read are scrambled."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from candelabra.models.base import FittedModel

__all__ = ["constants_in", "constants_of"]


def constants_of(model: FittedModel) -> dict[str, NDArray[Any]]:
    """What ``model`` saves: numbers of JSON files by their path in it, tensors by name, other files as bytes."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "part"
        model.save(folder)
        return constants_in(folder)


def constants_in(folder: Path) -> dict[str, NDArray[Any]]:
    """The same of a folder that was saved."""
    found: dict[str, NDArray[Any]] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".json":
            _flatten(json.loads(path.read_text(encoding="utf-8")), name.removesuffix(".json"), found)
        elif path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            found |= {f"{name.removesuffix('.safetensors')}.{key}": value for key, value in load_file(path).items()}
        else:
            found[name] = np.frombuffer(path.read_bytes(), np.uint8)
    return found


def _flatten(value: Any, name: str, into: dict[str, NDArray[Any]]) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _flatten(inner, f"{name}.{key}", into)
        return
    try:
        array = np.asarray(value)
    except ValueError:  # lists of unlike lengths
        array = np.empty(0, object)
    if array.dtype.kind in "biuf":
        into[name] = array
    elif isinstance(value, list):
        for k, inner in enumerate(value):
            _flatten(inner, f"{name}[{k}]", into)
    else:
        into[name] = np.frombuffer(json.dumps(value).encode(), np.uint8)

"""Checkpoints that resume to bit-equal weights: tensors in safetensors, counters in JSON, one atomic replace."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

from candelabra.disk import write_atomically
from candelabra.errors import DataError

__all__ = ["load_checkpoint", "save_checkpoint"]


def save_checkpoint(path: Path, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Write all tensors and a JSON-able ``state`` into one safetensors file."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(state)
    metadata = {"state": text, "sha256": _digest(contiguous, text)}
    write_atomically(path, tensors_to_bytes(contiguous, metadata=metadata))


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `save_checkpoint` wrote; DataError when the file is damaged, be it by one flipped bit."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors, metadata = {name: file.get_tensor(name).clone() for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
        if metadata["sha256"] != _digest(tensors, metadata["state"]):
            raise ValueError("its content does not fit its checksum")
        return tensors, json.loads(metadata["state"])
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise DataError(f"the checkpoint {path} cannot be read ({error}): delete it to begin this training again") from error


def _digest(tensors: dict[str, Tensor], state: str) -> str:
    digest = hashlib.sha256(state.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()

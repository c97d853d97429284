"""What pays on this machine, measured and not guessed from the vendor: bf16, and more than one thread."""

from __future__ import annotations

import os
import time
from typing import Final, Literal

import torch
from torch import Tensor

__all__ = ["choose_precision", "choose_threads"]

_GAIN: Final = 1.3  # below this a narrower number, or another core, is not worth having


def choose_precision(wanted: Literal["auto", "float32", "bfloat16"]) -> Literal["float32", "bfloat16"]:
    """``float32`` or ``bfloat16``: what is wanted, or for ``auto`` what a 20 ms probe of matrix products says."""
    if wanted != "auto":
        return wanted
    a, b = torch.randn(1024, 256), torch.randn(256, 512)
    seconds = {dtype: _least(a.to(dtype), b.to(dtype)) for dtype in (torch.float32, torch.bfloat16)}
    return "bfloat16" if seconds[torch.float32] > _GAIN * seconds[torch.bfloat16] else "float32"


def choose_threads(wanted: int, width: int) -> int:
    """``wanted``, or for 0 all cores if a probe of layers of ``width`` finds them faster than one.

    Small networks, and machines whose cores are busy, are faster on one thread: waiting for each other costs more than it saves.
    """
    if wanted:
        return wanted
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    before = torch.get_num_threads()
    a, b = torch.randn(2048, width), torch.randn(width, 3 * width)
    seconds = {}
    for threads in (1, cores):
        torch.set_num_threads(threads)
        seconds[threads] = _least(a, b)
    torch.set_num_threads(before)
    return cores if seconds[1] > _GAIN * seconds[cores] else 1


def _least(a: Tensor, b: Tensor) -> float:
    laps = []
    for _ in range(7):
        start = time.perf_counter()
        torch.nn.functional.silu(a @ b)
        laps.append(time.perf_counter() - start)
    return min(laps[1:])

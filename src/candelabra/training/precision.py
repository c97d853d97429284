"""Whether bf16 pays on this machine: measured, not guessed from the vendor."""

from __future__ import annotations

import time
from typing import Final, Literal

import torch

__all__ = ["choose_precision"]

_GAIN: Final = 1.3  # below this a narrower number is not worth having


def choose_precision(wanted: Literal["auto", "float32", "bfloat16"]) -> str:
    """``float32`` or ``bfloat16``: what is wanted, or for ``auto`` what a 20 ms probe of matrix products says."""
    if wanted != "auto":
        return wanted
    a, b = torch.randn(1024, 256), torch.randn(256, 512)
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        x, y = a.to(dtype), b.to(dtype)
        x @ y
        laps = []
        for _ in range(5):
            start = time.perf_counter()
            x @ y
            laps.append(time.perf_counter() - start)
        seconds[dtype] = min(laps)
    return "bfloat16" if seconds[torch.float32] > _GAIN * seconds[torch.bfloat16] else "float32"

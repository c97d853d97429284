"""Clocks, peaks, memory and checksums that every item uses."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def cpu_seconds(call: Callable[[], Any], repeats: int, warm_up: int = 1) -> float:
    """Median CPU seconds (user and system, all threads) of ``call``: cores are shared, the wall clock tells of others' work."""
    for _ in range(warm_up):
        call()
    laps = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        laps.append(time.process_time() - start)
    return float(np.median(laps))


def copy_seconds(array_bytes: int, repeats: int = 9) -> float:
    """Median CPU seconds to copy an array of ``array_bytes`` into warm memory."""
    source = np.ones(max(1, array_bytes // 8))
    target = np.empty_like(source)
    return cpu_seconds(lambda: np.copyto(target, source), repeats, warm_up=2)


def matmul_flops(dtype: str, repeats: int = 40) -> float:
    """Median floating-point operations per CPU second of a 1920 x 256 x 1024 product in torch, one thread."""
    import torch

    torch.set_num_threads(1)
    a, b = torch.randn(1920, 256).to(getattr(torch, dtype)), torch.randn(256, 1024).to(getattr(torch, dtype))
    return 2 * 1920 * 256 * 1024 / cpu_seconds(lambda: a @ b, repeats, warm_up=5)


class PeakMemory:
    """Bytes by which the process's resident memory rose above its level at entry, sampled every half millisecond."""

    def __enter__(self) -> PeakMemory:
        self._base = self._top = _resident()
        self._running = True
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while self._running:
            self._top = max(self._top, _resident())
            time.sleep(0.0005)

    def __exit__(self, *_: object) -> None:
        self._running = False
        self._thread.join()
        self._top = max(self._top, _resident())

    @property
    def grown(self) -> int:
        return self._top - self._base


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


def release_free_memory() -> None:
    """Hand freed memory back to the system, so that a later peak shows all that is asked for."""
    import ctypes
    import gc

    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


def digest(*values: Any, digits: int = 8) -> str:
    """Checksum of arrays: exact for whole numbers, to ``digits`` digits of their sums for floats (they may be added in another order)."""
    seal = hashlib.sha256()
    for value in values:
        array = np.asarray(value)
        seal.update(str(array.shape).encode())
        if array.dtype.kind == "f":
            flat = array.ravel().astype(np.float64)
            known = np.isfinite(flat)
            flat, place = flat[known], np.flatnonzero(known) + 1.0
            size = np.abs(flat).sum() or 1.0
            sums = (flat.sum() / size, (flat * place).sum() / (size * len(known)))
            seal.update(f"{len(flat)}:{size:.{digits - 1}e}:".encode() + ",".join(f"{x + 0.0:.{digits}f}" for x in sums).encode())
        else:
            seal.update(np.ascontiguousarray(array).astype(np.int64).tobytes())
    return seal.hexdigest()[:16]

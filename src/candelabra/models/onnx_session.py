"""Opening ONNX graphs with ONNX Runtime: quiet, on one thread, and without telemetry."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from candelabra.errors import BundleError

__all__ = ["open_session"]


def open_session(graph: bytes | Path, what: str) -> Any:
    """An inference session on the CPU; BundleError naming ``what`` when the graph cannot be opened."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read at import: afterwards it is too late
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # One thread: partial sums of several would make an answer depend on how many rows are asked for at once.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # one block planned ahead for the next run: 20 MiB more and no faster
    try:
        return onnxruntime.InferenceSession(graph if isinstance(graph, bytes) else str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exception classes share no public base
        raise BundleError(f"{what} cannot be opened ({error}): restore it from the sealed bundle") from error

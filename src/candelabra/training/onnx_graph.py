"""Writing a module as an ONNX graph, quietly."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

__all__ = ["to_onnx"]


def to_onnx(module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], path: Path) -> None:
    """Write ``module`` as an ONNX graph of fixed sizes; ``inputs`` by name, in the order of its arguments."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _quiet():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, tuple(inputs.values()), str(path), dynamo=True, optimize=False, external_data=False, verbose=False,
            input_names=list(inputs), output_names=list(outputs),
        )  # fmt: skip


@contextlib.contextmanager
def _quiet():  # type: ignore[no-untyped-def]
    """The exporter's advice is for its own developers."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

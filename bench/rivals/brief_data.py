"""The brief's way to make sequences: a Python loop that slices a data frame for every window."""

from __future__ import annotations

from typing import Any


def sequences(frame: Any, features: list[str], target: str, length: int, horizon: int) -> tuple[list[Any], list[Any]]:
    """Every window of ``length`` rows, and the ``horizon`` values of ``target`` behind it; all of them held at once."""
    windows, answers = [], []
    for first in range(len(frame) - length - horizon + 1):
        after = first + length
        windows.append(frame.iloc[first:after][features].to_numpy())
        answers.append(frame.iloc[after : after + horizon][target].to_numpy())
    return windows, answers

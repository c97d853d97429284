"""Which features say the same thing, and which say anything about a target: on train rows only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from candelabra.errors import DataError, UsageError

__all__ = ["Selection", "clusters_of", "examine", "mutual_information", "spearman"]

_SHIFTS = 9
_BINS = 16


@dataclass(frozen=True, eq=False)
class Selection:
    """What was found about features on the train rows.

    ``correlation`` float64 ``(channels, channels)``: Spearman's. ``clusters``: names that say nearly the same, each cluster's best
    one first. ``information`` float64 ``(channels,)``: mutual information with the target in nats; ``by_chance`` the same with the
    target shifted far in time: what a feature as slow as this one gets from a target it knows nothing of. Both None without a target.
    """

    names: tuple[str, ...]
    rows: int
    threshold: float
    correlation: NDArray[np.float64]
    clusters: tuple[tuple[str, ...], ...]
    information: NDArray[np.float64] | None = None
    by_chance: NDArray[np.float64] | None = None

    @property
    def representatives(self) -> tuple[str, ...]:
        """One feature of each cluster: the one that tells most about the target, or the first."""
        return tuple(c[0] for c in self.clusters)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "names": list(self.names),
            "rows": self.rows,
            "threshold": self.threshold,
            "correlation": self.correlation.round(6).tolist(),
            "clusters": [list(c) for c in self.clusters],
            "representatives": list(self.representatives),
            "information": None if self.information is None else self.information.tolist(),
            "by_chance": None if self.by_chance is None else self.by_chance.tolist(),
        }

    def figure(self) -> Any:
        """A plotly figure: correlation ordered by cluster, and beside it the information about the target."""
        from plotly.subplots import make_subplots

        order = [self.names.index(name) for cluster in self.clusters for name in cluster]
        labels = [self.names[i] for i in order]
        told = self.information is not None
        figure = make_subplots(1, 2 if told else 1, shared_yaxes=True, column_widths=[0.7, 0.3] if told else None, horizontal_spacing=0.02)
        figure.add_heatmap(
            z=self.correlation[np.ix_(order, order)], x=labels, y=labels, zmin=-1, zmax=1, colorscale="RdBu", row=1, col=1,
            colorbar={"title": "Spearman", "orientation": "h", "y": -0.35, "thickness": 10},
        )  # fmt: skip
        if self.information is not None and self.by_chance is not None:
            figure.add_bar(x=self.information[order], y=labels, orientation="h", name="about the target", row=1, col=2)
            figure.add_bar(x=self.by_chance[order], y=labels, orientation="h", name="by chance", row=1, col=2)
            figure.update_xaxes(title_text="mutual information (nats)", row=1, col=2)
        figure.update_yaxes(autorange="reversed")
        size = 260 + 18 * len(labels)
        figure.update_layout(
            title=f"Features that say the same (|correlation| > {self.threshold:g} clustered), {self.rows:,} train rows", height=size
        )
        return figure


def examine(
    values: NDArray[Any],
    names: Sequence[str],
    train_rows: NDArray[Any],
    target: NDArray[Any] | None = None,
    *,
    threshold: float = 0.9,
    at_most: int = 20_000,
) -> Selection:
    """Correlation, redundancy clusters and information about ``target`` ``(rows,)`` of features ``(rows, channels)``.

    Reads ``train_rows`` (a mask or row numbers) alone, ``at_most`` of them evenly spread, and of these the ones where everything is known.
    DataError under 100 such rows.
    """
    if values.ndim != 2 or values.shape[1] != len(names):
        raise DataError(f"values of shape {values.shape} do not fit {len(names)} names")
    if not 0 < threshold <= 1:
        raise UsageError(f"threshold must lie in (0, 1], got {threshold}")
    rows = np.flatnonzero(train_rows) if train_rows.dtype == np.bool_ else np.asarray(train_rows)
    if len(rows) > at_most:
        rows = rows[np.linspace(0, len(rows) - 1, at_most).astype(np.int64)]
    chosen = np.asarray(values[rows], np.float64)
    aim = None if target is None else np.asarray(target[rows], np.float64)
    whole = np.isfinite(chosen).all(1) & (True if aim is None else np.isfinite(aim))
    if whole.sum() < 100:
        raise DataError(f"only {int(whole.sum())} train rows have every feature{'' if aim is None else ' and the target'}: 100 are needed")
    chosen = chosen[whole]
    correlation = spearman(chosen)
    information = chance = None
    if aim is not None:
        aim = aim[whole]
        coded = [_codes(c, _BINS) for c in chosen.T]
        aims = [_codes(aim, _BINS)]
        aims += [np.roll(aims[0], int(s)) for s in np.linspace(0.1, 0.9, _SHIFTS) * len(aim)]
        found = np.array([[_information(c, a, _BINS) for a in aims] for c in coded])
        information, chance = found[:, 0], np.median(found[:, 1:], axis=1)
    groups = clusters_of(correlation, threshold)
    ranked = [sorted(g, key=lambda i: (-information[i] if information is not None else 0.0, i)) for g in groups]
    clusters = tuple(tuple(names[i] for i in g) for g in ranked)
    return Selection(tuple(names), len(chosen), threshold, correlation, clusters, information, chance)


def spearman(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank correlation ``(channels, channels)`` with mean ranks for ties; 0 for a channel that never changes."""
    ranks = np.stack([_ranks(c) for c in values.T], axis=1)
    ranks -= ranks.mean(0)
    size = np.sqrt((ranks**2).sum(0))
    ranks /= np.where(size > 0, size, 1.0)
    correlation = np.clip(ranks.T @ ranks, -1.0, 1.0)
    np.fill_diagonal(correlation, 1.0)
    return correlation


def clusters_of(correlation: NDArray[np.float64], threshold: float) -> list[list[int]]:
    """Groups of channels whose average |correlation| is above ``threshold``, in order of their first member (average linkage)."""
    count = len(correlation)
    if count < 2:
        return [[i] for i in range(count)]
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    distance = 1 - np.abs(correlation)
    distance = np.maximum(0.5 * (distance + distance.T), 0.0)
    np.fill_diagonal(distance, 0.0)
    labels = fcluster(linkage(squareform(distance, checks=False), "average"), 1 - threshold, "distance")
    groups: dict[int, list[int]] = {}
    for i, label in enumerate(labels):
        groups.setdefault(int(label), []).append(i)
    return sorted(groups.values(), key=lambda g: g[0])


def mutual_information(x: NDArray[np.float64], y: NDArray[np.float64], bins: int = _BINS) -> float:
    """Mutual information in nats from bins of equal frequency, with the Miller-Madow correction; not below 0.

    For a normal pair with correlation rho it comes near -0.5 log(1 - rho**2) (a little under it: bins lose something).
    """
    return _information(_codes(x, bins), _codes(y, bins), bins)


def _information(a: NDArray[np.int64], b: NDArray[np.int64], bins: int) -> float:
    joint = np.bincount(a * bins + b, minlength=bins * bins).astype(np.float64).reshape(bins, bins)
    n = joint.sum()
    rows, columns = joint.sum(1), joint.sum(0)
    some = joint > 0
    expected = np.outer(rows, columns)
    raw = float((joint[some] / n * np.log(joint[some] * n / expected[some])).sum())
    used = int(some.sum()) - int((rows > 0).sum()) - int((columns > 0).sum()) + 1
    return max(0.0, raw - used / (2 * float(n)))


def _codes(x: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    edges = np.unique(np.quantile(x, np.linspace(0, 1, bins + 1)[1:-1]))
    return np.searchsorted(edges, x, "right").astype(np.int64)


def _ranks(x: NDArray[np.float64]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean_rank = last - 0.5 * (counts - 1)
    return np.asarray(mean_rank[inverse], np.float64)

"""Gradient-boosted trees at inference: flat arrays in one ONNX file, run by ONNX Runtime (no tree library needed)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.timeframe import Timeframe
from candelabra.errors import BundleError
from candelabra.models.onnx_session import open_session
from candelabra.models.tabular import columns, warm_up
from candelabra.models.volatility import LinearVolatility
from candelabra.windows.series import Series

__all__ = ["TreeVolatility", "run_trees", "trees_to_onnx"]

FILE: Final = "trees.onnx"
_DOMAIN_VERSIONS: Final = (("", 17), ("ai.onnx.ml", 3))
_IR_VERSION: Final = 8


@dataclass(frozen=True, eq=False)
class TreeVolatility:
    """``anchor`` plus trees on the columns ``specs``; ``onnx`` is the serialised ensemble with one output a horizon."""

    anchor: LinearVolatility
    specs: tuple[str, ...]
    onnx: bytes
    responds: bool = True

    def log_volatility(self, series: Series, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Forecasts ``(rows, horizons)``; NaN where the anchor is (missing columns take the trees' default ways)."""
        anchor = self.anchor.log_volatility(series, rows)
        return anchor + run_trees(self._session, columns(series, self.specs, rows))

    def warm_up(self, base: Timeframe) -> int:
        """The longest memory of its columns."""
        return max(self.anchor.warm_up(base), warm_up(base, self.specs))

    def to_json(self, folder: Path) -> dict[str, Any]:
        """The anchor and the columns; the trees go into ``trees.onnx``."""
        (folder / FILE).write_bytes(self.onnx)
        return {"kind": "trees", "anchor": self.anchor.to_json(folder), "specs": list(self.specs)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], folder: Path) -> TreeVolatility:
        """What `to_json` wrote."""
        anchor = values["anchor"]
        linear = LinearVolatility(np.array(anchor["intercept"]), tuple(anchor["terms"]))
        try:
            return cls(linear, tuple(values["specs"]), (folder / FILE).read_bytes())
        except OSError as error:
            raise BundleError(f"{folder / FILE} cannot be read ({error}): restore it from the sealed bundle") from error

    @cached_property
    def _session(self) -> Any:
        return open_session(self.onnx, "the trees")


def run_trees(session: Any, table: NDArray[np.float32]) -> NDArray[np.float64]:
    """Outputs ``(rows, horizons)`` of an ensemble for float32 columns ``(rows, columns)``; NaN takes the default way."""
    if not len(table):
        return np.empty((0, session.get_outputs()[0].shape[1]))
    return np.asarray(session.run(None, {"columns": np.ascontiguousarray(table, np.float32)})[0], np.float64)


def trees_to_onnx(boosters: Sequence[Mapping[str, Any]], column_count: int) -> bytes:
    """One ONNX ensemble from dumped boosters (LightGBM's ``dump_model()``), an output for each.

    Thresholds, leaves and sums are double, as LightGBM's are, so that every row ends in the same leaf; the float32 columns are widened on
    the way in. A missing value goes the node's default way where missing values were seen in training, else where 0 goes.
    """
    from onnx import TensorProto, helper

    nodes: dict[str, list[Any]] = {k: [] for k in ("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids")}
    nodes["missing_value_tracks_true"] = []
    targets: dict[str, list[Any]] = {k: [] for k in ("treeids", "nodeids", "ids", "weights")}
    tree = 0
    for output, booster in enumerate(boosters):
        for info in booster["tree_info"]:
            _add_tree(info["tree_structure"], tree, output, nodes, targets)
            tree += 1
    attributes: dict[str, Any] = {f"nodes_{k}": v for k, v in nodes.items()} | {f"target_{k}": v for k, v in targets.items()}
    for name in ("nodes_values", "target_weights"):
        values = attributes.pop(name)
        attributes[f"{name}_as_tensor"] = helper.make_tensor(name, TensorProto.DOUBLE, [len(values)], values)
    widen = helper.make_node("Cast", ["columns"], ["wide"], to=TensorProto.DOUBLE)
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["wide"],
        ["values"],
        domain="ai.onnx.ml",
        n_targets=len(boosters),
        aggregate_function="SUM",
        post_transform="NONE",
        **attributes,
    )
    graph = helper.make_graph(
        [widen, node],
        "trees",
        [helper.make_tensor_value_info("columns", TensorProto.FLOAT, [None, column_count])],
        [helper.make_tensor_value_info("values", TensorProto.FLOAT, [None, len(boosters)])],
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in _DOMAIN_VERSIONS]
    model = helper.make_model(graph, opset_imports=imports, ir_version=_IR_VERSION, producer_name="candelabra")
    return bytes(model.SerializeToString())


def _add_tree(root: Mapping[str, Any], tree: int, output: int, nodes: dict[str, list[Any]], targets: dict[str, list[Any]]) -> None:
    waiting, count = [(root, 0)], 1
    while waiting:
        node, number = waiting.pop()
        nodes["treeids"].append(tree)
        nodes["nodeids"].append(number)
        if "split_feature" not in node:
            leaf = (0, "LEAF", 0.0, 0, 0, 0)
            targets["treeids"].append(tree)
            targets["nodeids"].append(number)
            targets["ids"].append(output)
            targets["weights"].append(float(node["leaf_value"]))
        else:
            threshold = float(node["threshold"])
            missing_left = node["default_left"] if node["missing_type"] == "NaN" else threshold >= 0
            leaf = (int(node["split_feature"]), "BRANCH_LEQ", threshold, count, count + 1, int(missing_left))
            waiting += [(node["left_child"], count), (node["right_child"], count + 1)]
            count += 2
        keys = ("featureids", "modes", "values", "truenodeids", "falsenodeids", "missing_value_tracks_true")
        for key, value in zip(keys, leaf, strict=True):
            nodes[key].append(value)

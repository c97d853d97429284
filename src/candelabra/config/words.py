"""What every setting means, in a line: the comments of a written ``candelabra.toml`` and the texts of the schema."""

from __future__ import annotations

from typing import Final

__all__ = ["MODEL_WORDS", "WORDS", "about"]

WORDS: Final = {
    "seed": "same seed, settings and candles: same weights",
    "size": "tiny, small or base: sets the model's dimensions and the length of training, unless they are set below",
    "baselines": "models judged beside the trained one",
    "candles": "which candles",
    "candles.paths": "files, folders or globs (CSV, Parquet, Feather)",
    "candles.symbols": "only these, as in [\"BTC/USDT\"]; empty: all that are there",
    "candles.timeframes": "read only these; empty: all that are there",
    "candles.on_bad": "refuse or drop rows that are not candles",
    "candles.since": "bars that open from this date on (UTC), as in 2021-01-01; empty: all",
    "candles.until": "bars that close by this date (UTC); empty: all",
    "timeframes": "the decision timeframe, longer ones joined to it as of their close, shorter ones inside it",
    "timeframes.base": "a forecast is made at the close of every base bar",
    "timeframes.coarse": "longer timeframes, multiples of the base",
    "timeframes.fine": "shorter timeframes that divide the base",
    "timeframes.volatility": "whose returns realised volatility is made of; empty: the finest of fine, or the base",
    "features": "specs such as \"rsi(14)\" by role (candelabra features list); empty: the default ones",
    "features.base": "at the base timeframe",
    "features.coarse": "at each coarse timeframe",
    "features.fine": "at each fine timeframe",
    "windows": "what is foretold, and the split in time",
    "windows.horizons": "whole numbers of base bars, rising",
    "windows.shares": "train, validation, calibration, test; sum 1",
    "windows.embargo": "extra distance between the parts; the targets' own span is always purged",
    "scaling": "fitted on train rows only",
    "scaling.kind": "standard, robust, minmax, per_window or none",
    "scaling.clip": "scaled values are kept within +- this; \"none\": not at all",
    "scaling.fill": "what a value not yet known becomes after scaling; \"none\": it stays unknown",
    "scaling.window": "rows of the trailing window of per_window",
    "model": "the model to train, and its own settings",
    "model.name": "a registered model: arms, gpt2, harx_lightgbm, ...",
    "training": "how weights are found",
    "training.sequence_length": "base bars of a training sequence",
    "training.batch_size": "sequences of a step",
    "training.steps": "optimizer steps at most",
    "training.learning_rate": "the highest, after warm-up",
    "training.weight_decay": "of AdamW",
    "training.warmup_steps": "steps of rising learning rate",
    "training.gradient_clip": "largest norm of the gradient",
    "training.averaging": "decay of the moving average of weights that is validated and kept",
    "training.evaluate_every": "steps between validations and checkpoints",
    "training.patience": "validations without a better loss before stopping",
    "training.rehearsal": "share of the train range, at its end, foretold by a first training that chooses the steps; 0: none",
    "training.seeds": "networks trained and averaged",
    "training.precision": "auto (a probe decides), float32 or bfloat16",
    "training.compile": "off or on: torch.compile",
    "training.threads": "0: all cores",
    "training.tensorboard": "also write TensorBoard files",
    "training.start_from": "a bundle to begin from, which learned from earlier candles; empty: random weights",
    "training.start_rate": "share of the learning rate when beginning from a bundle",
    "ensemble": "the product: an average of models, weighed on validation",
    "ensemble.members": "registered models; empty: the model alone",
    "ensemble.shrink": "0: weights as fitted, 1: equal weights",
    "evaluation": "how figures are judged",
    "evaluation.block": "length of a block of the bootstrap",
    "evaluation.resamples": "draws of the bootstrap",
    "trading": "what an order costs in the backtest, in basis points",
    "trading.fee_bps": "of every order",
    "trading.slippage_bps": "how much worse than the open an order is filled",
    "trading.funding_bps": "per 8 hours, paid by longs, received by shorts",
    "regimes": "what is learned from labelled segments (train --labels)",
    "regimes.labels": "the learning set: a file of segments with labels",
    "regimes.only": "learn the labels, and no forecast",
    "regimes.modes": "filtered (known at each close), smoothed (hindsight), or both",
    "regimes.network": "the dilated convolution that reads the base bars",
    "regimes.network.width": "of every layer",
    "regimes.network.layers": "their dilations double: 8 layers look back 511 bars",
    "regimes.network.dropout": "probability in training",
    "regimes.network.boundary_weight": "of the loss of boundaries beside the labels'",
    "regimes.network.smooth_weight": "of the loss that keeps neighbouring bars alike",
    "regimes.training": "how its weights are found; keys as in training",
    "regimes.bounds": "what a filtered decoder has to keep on validation, in bars of each timeframe",
    "regimes.bounds.flips": "changes of regime in 1,000 bars at most; \"none\": four times as many as the training labels have",
    "regimes.bounds.delay": "median bars until a change is seen, at most; \"none\": any",
    "regimes.bounds.margin": "share of either that is used: validation flatters what was chosen on it",
}  # fmt: skip

MODEL_WORDS: Final = {
    "width": "of the base arm; a multiple of twice the heads",
    "layers": "of the base arm",
    "heads": "of the base arm",
    "coarse_width": "of each coarser arm",
    "coarse_layers": "of each coarser arm",
    "coarse_heads": "of each coarser arm",
    "attention_width": "bars one layer looks back",
    "coarse_attention_width": "the same in coarser arms, in their own bars",
    "fusion": "how coarse arms reach the base: cross, concat or hierarchical",
    "dropout": "probability in training",
    "arm_dropout": "probability that a whole arm is silenced for a training sequence",
    "anchor": "the linear model whose volatility forecast the network corrects: harx, har or ewma",
    "volatility_weight": "of the volatility loss beside the quantile loss",
    "qlike_weight": "of the variance's QLIKE loss beside the quantile loss",
    "auxiliary_weight": "of the ranges to come, learned beside the forecast",
    "regime_weight": "of the regimes, where labels are learned beside the forecast",
    "context_length": "bars seen by one forecast",
    "weights": "a local folder or a hub name of pretrained GPT-2 blocks; empty: trained from nothing",
}
"""Of the network models' settings; other models' keys are written without a comment."""


def about(key: str) -> str:
    """The line about a dotted key; empty for settings of models that are not described here."""
    section, _, name = key.partition(".")
    if key.startswith("regimes.training."):
        return WORDS.get(key.removeprefix("regimes."), "")
    return WORDS.get(key, MODEL_WORDS.get(name, "") if section == "model" else "")

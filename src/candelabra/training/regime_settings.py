"""What a run on a learning set depends on beside candles and labels (torch-free)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, get_args

from candelabra.errors import UsageError
from candelabra.models.regime_encoder import EncoderKind, Mode
from candelabra.models.regime_tcn import TcnSettings
from candelabra.models.regime_transformer import RegimeTransformerSettings
from candelabra.training.settings import TrainingSettings

__all__ = ["MODES", "Bounds", "RegimeSettings", "regime_training"]

MODES: Final[tuple[Mode, ...]] = ("filtered", "smoothed")


@dataclass(frozen=True)
class Bounds:
    """What the decoder has to keep on validation: at most ``flips`` changes in 1,000 bars, a median ``delay`` of at most so many bars.

    None: nothing is asked (`fit_segmenter` then takes four times as many changes as the training labels have, and any delay).
    ``margin``: the share of either that is used; a short validation range flatters what was chosen on it.
    """

    flips: float | None = 6.0
    delay: float | None = 25.0
    margin: float = 0.9

    def __post_init__(self) -> None:
        if (self.flips is not None and self.flips <= 0) or (self.delay is not None and self.delay < 0) or not 0 < self.margin <= 1:
            raise UsageError(
                f"flips {_shown(self.flips)}, delay {_shown(self.delay)}, margin {self.margin:g}: flips above 0, a delay of at least 0 and "
                "a margin in (0, 1] are needed"
            )


def regime_training(sequence_length: int = 1024) -> TrainingSettings:
    """Training settings that a regime network starts from: few steps, for what it reads is already close to an answer."""
    return TrainingSettings(
        sequence_length=sequence_length, batch_size=16, steps=150, learning_rate=2e-3, warmup_steps=20, evaluate_every=15, patience=6,
        rehearsal=0.0, precision="float32", threads=1,
    )  # fmt: skip


@dataclass(frozen=True)
class RegimeSettings:
    """How a learning set becomes regimes: ``labels`` is its file, ``only``: no forecast is learned beside it.

    ``modes``: which readings are trained; ``encoder``: what the regime network is, set by ``network`` where it is the convolution and by
    ``transformer`` where it is that; ``training`` of it; ``bounds`` of filtered decoders.
    """

    labels: str = ""
    only: bool = False
    modes: tuple[Mode, ...] = MODES
    encoder: EncoderKind = "convolution"
    network: TcnSettings = field(default_factory=TcnSettings)
    transformer: RegimeTransformerSettings = field(default_factory=RegimeTransformerSettings)
    training: TrainingSettings = field(default_factory=regime_training)
    bounds: Bounds = field(default_factory=lambda: Bounds(None, None))

    def __post_init__(self) -> None:
        if not self.modes or len(set(self.modes)) != len(self.modes) or not set(self.modes) <= set(MODES):
            raise UsageError(f"regimes.modes = {list(self.modes)}: choose filtered, smoothed or both, each once")
        if self.encoder not in get_args(EncoderKind):
            raise UsageError(f"regimes.encoder = {self.encoder!r}: choose {' or '.join(get_args(EncoderKind))}")
        loop = self.training
        for name, given, idle in (
            ("rehearsal", loop.rehearsal, 0.0),
            ("compile", loop.compile, "off"),
            ("start_from", loop.start_from, ""),
        ):
            if given != idle:  # said, not left out: who sets it would believe that it does something
                raise UsageError(f"regimes.training.{name} = {given!r}: a regime network is trained without it; leave it at {idle!r}")
        if loop.precision == "bfloat16":
            raise UsageError("regimes.training.precision = 'bfloat16': a regime network is trained in float32; leave it out")

    @property
    def chosen(self) -> TcnSettings | RegimeTransformerSettings:
        """The settings of the encoder that is trained."""
        return self.transformer if self.encoder == "transformer" else self.network


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"

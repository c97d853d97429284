"""What cannot be is refused with the key, the place it was set, and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from candelabra.config.build import configure, load
from candelabra.errors import UsageError


def refused(**sources: object) -> str:
    with pytest.raises(UsageError) as caught:
        load(**({"environment": {}} | sources))  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.parametrize(
    ("assignment", "parts"),
    [
        ("training.stepz=3", ["training.stepz", 'did you mean "training.steps"']),
        ("trainig.steps=3", ["trainig.steps", 'did you mean "training.steps"']),
        ("nonsense=3", ["nonsense", "known: seed"]),
        ("regimes.training.stepz=3", ["regimes.training.stepz", 'did you mean "regimes.training.steps"']),
        ("regimes.training=3", ["regimes.training", "is a section", "regimes.training.sequence_length"]),
        ("regimes.training.steps.now=3", ["regimes.training.steps is one value"]),
        ("regimes.training.steps=0", ["regimes.training.steps = 0: it must", "--set regimes.training.steps=0"]),
        ("regimes.training.steps=x", ["regimes.training.steps = 'x'", "a whole number"]),
        ("regimes.training.rehearsal=0.3", ["regimes.training.rehearsal = 0.3", "trained without it"]),
        ("regimes.training.precision=bfloat16", ["regimes.training.precision", "float32"]),
        ("regimes.network.layers=99", ["regimes.network: ", "at most 16 layers"]),
        ("regimes.encoder=transformr", ["regimes.encoder = 'transformr'", "convolution", 'did you mean "transformer"']),
        ("regimes.transformer.heads=5", ["regimes.transformer: width 48", "multiple of its heads (5)"]),
        ("regimes.transformer.attention=5", ["regimes.transformer.attention", 'did you mean "regimes.transformer.attention_width"']),
        ("regimes.bounds.flips=-1", ["regimes.bounds: flips -1, delay none", "above 0"]),
        ("regimes.modes=[]", ["regimes.modes = []", "filtered, smoothed or both"]),
        ("regimes.modes=best", ["regimes.modes = 'best'", "filtered, smoothed"]),
        ("training=3", ["training", "is a section", "training.sequence_length"]),
        ("seed.of.doom=3", ["seed.of.doom", "seed is one value"]),
        ("training.steps=many", ["training.steps = 'many'", "a whole number"]),
        ("training.steps=1.5", ["training.steps", "a whole number"]),
        ("training.steps=0", ["training.steps = 0", "at least 1"]),
        ("training.threads=-1", ["training.threads = -1", "at least 0"]),
        ("training.warmup_steps=-1", ["training.warmup_steps = -1", "at least 0"]),
        ("training.weight_decay=-0.1", ["training.weight_decay = -0.1", "at least 0"]),
        ("training.gradient_clip=-1", ["training.gradient_clip = -1", "above 0"]),
        ("training.learning_rate=nan", ["training.learning_rate", "a finite number"]),
        ("training.learning_rate=fast", ["training.learning_rate = 'fast'", "a number is needed"]),
        ("training.tensorboard=maybe", ["training.tensorboard = 'maybe'", "true or false"]),
        ("training.precision=float23", ["training.precision", "float32", "did you mean"]),
        ("seed=-1", ["seed = -1", "0 or more"]),
        ("seed=true", ["seed = 'true'", "a whole number"]),
        ("size=huge", ["size = 'huge'", "tiny, small, base"]),
        ("model.name=gtp2", ["model.name = 'gtp2'", 'did you mean "gpt2"']),
        ("model.name=ensemble", ["model.name", "ensemble.members"]),
        ("model.width=31", ["model.width = 31", "a multiple of 8"]),
        ("model.fusion=crss", ["model.fusion", 'did you mean "cross"']),
        ("model.dropout=1.5", ["model.dropout = 1.5", "probability"]),
        ("scaling.kind=standart", ["scaling.kind", 'did you mean "standard"']),
        ("scaling.clip=-3", ["clip", "above 0"]),
        ("timeframes.base=60", ["'60' is not a timeframe", "timeframes.base"]),
        ("timeframes.coarse=15m", ["15m is not longer than the base 1h"]),
        ("timeframes.coarse=90m", ["90m bars are not made of whole 1h bars"]),
        ("timeframes.fine=4h", ["4h is not shorter than the base 1h"]),
        ("timeframes.base=1d", ["4h is not longer than the base 1d"]),
        ("windows.horizons=90m", ["horizon 90m is not a whole number of 1h"]),
        ("windows.horizons=24h,1h", ["must be in rising order"]),
        ("windows.horizons=[]", ["at least one horizon"]),
        ("windows.shares=.5,.5", ["windows.shares", "four positive numbers"]),
        ("windows.shares=.5,.2,.2,.2", ["windows.shares", "sum to 1"]),
        ("windows.shares=half", ["windows.shares", "a number is needed"]),
        ("windows.embargo=soon", ["windows.embargo = 'soon'", "24h"]),
        ("evaluation.block=0d", ["evaluation.block", "above 0"]),
        ("evaluation.resamples=5", ["evaluation.resamples = 5", "at least 100"]),
        ("ensemble.shrink=2", ["ensemble.shrink = 2", "0 (as fitted)"]),
        ("ensemble.members=arms,arms", ["names a model twice"]),
        ("ensemble.members=arms,lightgmb", ["unknown model 'lightgmb'", 'did you mean "lightgbm"']),
        ("baselines=zeroo", ["baselines", 'did you mean "zero"']),
        ("baselines=ensemble", ["baselines", "unknown model 'ensemble'"]),
        ("features.base=rsi(14),retrun(3)", ["features.base", "retrun(3)", 'did you mean "return"']),
        ("features.coarse=rsi(0)", ["features.coarse", "at least"]),
        ("candles.on_bad=ignore", ["candles.on_bad", "refuse, drop"]),
        ("candles.timeframes=1hour", ["'1hour' is not a timeframe"]),
    ],
)
def test_a_bad_assignment_is_refused_with_key_place_and_way_out(assignment: str, parts: list[str]) -> None:
    message = refused(assignments=[assignment])
    assert f"--set {assignment}" in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize("text", ["training.steps", "=3", "a b=3", "training..steps=3"])
def test_an_assignment_that_is_none_is_refused(text: str) -> None:
    assert "as in --set training.steps=300" in refused(assignments=[text])


def test_a_file_is_quoted_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text('seed = 0\n\n[training]\n# a comment\nsteps = "many"\nspeed = 3\n')
    message = refused(file=file)
    assert f"training.speed ({file}, line 6)" in message
    file.write_text('seed = 0\n\n[training]\n# a comment\nsteps = "many"\n')
    assert f"training.steps = 'many' ({file}, line 5): a whole number is needed" in refused(file=file)


def test_text_is_no_number_in_a_file_and_a_number_no_text(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text('[training]\nsteps = "300"\n')
    assert "a whole number" in refused(file=file)
    file.write_text("[timeframes]\nbase = 60\n")
    assert "timeframes.base = 60" in refused(file=file)
    file.write_text('[windows]\nhorizons = "24h"\n')
    assert "a list is needed" in refused(file=file)
    file.write_text("[windows]\nhorizons = [24]\n")
    assert "item 1" in refused(file=file)


def test_every_problem_of_a_section_is_told_at_once() -> None:
    message = refused(assignments=["training.steps=many", "training.batch_size=few"])
    assert "training.steps" in message
    assert "training.batch_size" in message


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert "candelabra config init" in refused(file=tmp_path / "absent.toml")
    (tmp_path / "mine.toml").write_text("seed = \n")
    assert 'did you mean "mine.toml"' in refused(file=tmp_path / "mien.toml")
    assert "is not valid TOML" in refused(file=tmp_path / "mine.toml")
    assert "line 1" in refused(file=tmp_path / "mine.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    assert "cannot read" in refused(file=tmp_path / "bytes.toml")
    assert "cannot read" in refused(file=tmp_path)


def test_a_bad_variable_is_named_as_it_is_spelt() -> None:
    assert "environment variable CANDELABRA_TRAINING__STEPS" in refused(environment={"CANDELABRA_TRAINING__STEPS": "x"})
    assert "CANDELABRA_TRAINING__STEPZ" in refused(environment={"CANDELABRA_TRAINING__STEPZ": "1"})
    assert "did you mean CANDELABRA_SEED" in refused(environment={"CANDELABRA_SEDE": "1"})


def test_values_from_python_are_checked_the_same_way() -> None:
    with pytest.raises(UsageError, match=r'unknown setting sede: did you mean "seed"'):
        configure(sede=3)
    with pytest.raises(UsageError, match=r"training\.steps = 'x'"):
        configure({"training.steps": "x"})

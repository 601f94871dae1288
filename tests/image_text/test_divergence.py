"""The training of a CLIP ends with a whole, finite model, or says why there is none."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from geoloc.errors import Diverged
from geoloc.image_text import training
from geoloc.image_text.checkpoint import ClipState
from geoloc.image_text.training import ClipTrainer, train_clip
from geoloc.locks import only_one
from tests.image_text.test_clip import NAMES, TINY, Squares

SHORT = replace(TINY, epochs=2)


def train(folder: Path, parameters=SHORT) -> pd.DataFrame:
    return train_clip(folder, Squares(12, 1), Squares(6, 2), NAMES, parameters)


@pytest.mark.parametrize("learning_rate", [1e18, 1e30])
def test_training_stops_at_the_first_loss_that_is_not_finite(tmp_path, learning_rate):
    remedy = rf"lower the model's learning_rate \(below models, now {learning_rate:g}"
    remedy = remedy.replace("+", r"\+")
    with pytest.raises(Diverged, match=rf"^\S+/clip: .*, epoch \d, is not finite; {remedy}"):
        train(tmp_path / "clip", replace(TINY, learning_rate=learning_rate, warmup=0))
    assert list(tmp_path.iterdir()) == []  # neither a model nor a state nor a lock


class Trainer(ClipTrainer):
    """Calls `spoil` with itself before each step that is trained."""

    spoil = staticmethod(lambda trainer: None)

    def logits(self, pixels, texts):
        if self.model.training:
            self.spoil(self)
        return super().logits(pixels, texts)


def spoil_a_weight(trainer):
    if len(trainer.history) == 1:
        trainer.model.visual_projection.weight.data[0, 0] = torch.nan


def spoil_a_gradient(trainer):
    weight = trainer.model.text_projection.weight
    if not weight._backward_hooks:
        weight.register_hook(lambda gradient: gradient * torch.inf)


def spoil_what_a_step_leaves(trainer):
    scale = trainer.model.logit_scale.data
    trainer.optimizer.register_step_post_hook(lambda *_: scale.fill_(-torch.inf))


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (spoil_a_weight, "loss of step 1, epoch 2, is not finite"),
        (spoil_a_gradient, "gradient of step 1, epoch 1, is not finite"),
        (spoil_what_a_step_leaves, r"logit_scale, epoch 1, is not finite"),
    ],
)
def test_the_number_that_is_none_is_named(tmp_path, monkeypatch, spoil, what):
    monkeypatch.setattr(training, "ClipTrainer", Trainer)
    monkeypatch.setattr(Trainer, "spoil", staticmethod(spoil))
    parameters = replace(SHORT, batch_size=12)
    with pytest.raises(Diverged, match=f"clip: {what}"):
        train(tmp_path / "clip", parameters)
    assert list(tmp_path.iterdir()) == []


def test_a_validation_loss_that_is_not_finite_stops_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr(
        ClipTrainer, "validate", lambda *_: {"val_loss": float("nan"), "val_accuracy": 1.0}
    )
    with pytest.raises(Diverged, match="validation loss, epoch 1, is not finite"):
        train(tmp_path / "clip")


def test_after_a_lower_learning_rate_the_training_succeeds(tmp_path):
    with pytest.raises(Diverged):
        train(tmp_path / "clip", replace(SHORT, learning_rate=1e18, warmup=0))
    assert np.isfinite(train(tmp_path / "clip").to_numpy()).all()


def test_a_second_training_of_the_same_folder_says_who_is_at_work(tmp_path):
    with only_one(tmp_path / ".clip.lock", "training"):
        message = rf"process {os.getpid()} on .* is already training in \S+/clip; wait"
        with pytest.raises(BlockingIOError, match=message):
            train(tmp_path / "clip")
    assert not (tmp_path / "clip").exists()
    train(tmp_path / "clip")
    assert [path.name for path in tmp_path.iterdir()] == ["clip"]


def test_a_model_that_cannot_be_written_does_not_appear(tmp_path, monkeypatch):
    """What is there already stays until a whole model replaces it."""
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "old").write_text("old")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(pd.DataFrame, "to_csv", full)
        with pytest.raises(OSError, match="No space left"):
            train(tmp_path / "clip")
    assert [path.name for path in (tmp_path / "clip").iterdir()] == ["old"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".clip.state", "clip"]
    train(tmp_path / "clip")
    assert [path.name for path in tmp_path.iterdir()] == ["clip"]
    assert not (tmp_path / "clip" / "old").exists()


def with_other_numbers(data: bytes) -> bytes:
    """A zero for one of the numbers of a tensor; torch loads it without a word."""
    place = data.index(np.arange(99, dtype=np.float32).tobytes()) + 4 * 50
    return data[:place] + bytes(4) + data[place + 4 :]


@pytest.mark.parametrize(
    "damage",
    [
        with_other_numbers,
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: bytes(len(data)),
        lambda data: np.random.default_rng(0).bytes(999),
        lambda data: b"PK\x03\x04" + data[:200],
        lambda data: b"\x80\x02]q\x00.",
        lambda data: b"\x80\x02}q\x00.",
    ],
    ids=["numbers", "empty", "half", "zeros", "random", "zip", "list", "dict"],
)
def test_a_damaged_state_is_told_of_and_not_used(tmp_path, damage, caplog):
    state = ClipState(tmp_path / "state", "print")
    state.save({"history": [1], "weights": torch.arange(99.0)})
    assert state.load()["history"] == [1]
    state.path.write_bytes(damage(state.path.read_bytes()))
    assert state.load() is None
    assert "state: damaged, training starts again" in caplog.text

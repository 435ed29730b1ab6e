"""Libraries that call wandb themselves, unmodified: what they log of real fits is in the store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import artline

Fit = Callable[[str], Any]


def column(run: Any, key: str) -> list[Any]:
    return [row[key] for row in run.scan_history([key])]


def test_transformers_trainer(fit: Fit) -> None:
    run = fit("transformers_trainer")
    assert (run.project, run.name) == ("digits", "vit")
    assert run.config["learning_rate"] == 3e-3
    assert run.config["hidden_size"] == 32
    assert run.config["model/num_parameters"] > 1000
    losses = column(run, "train/loss")
    assert len(losses) == 15
    assert losses[-1] < losses[0]
    assert column(run, "train/global_step")[:3] == [10, 20, 30]
    assert len(column(run, "eval/accuracy")) == 2
    assert run.summary["train_loss"] > 0
    assert any(key.startswith("gradients/") for key in run.metrics())
    assert any(key.startswith("parameters/") for key in run.metrics())
    versions = run.logged_artifacts()
    aliases = [alias for version in versions for alias in version.aliases]
    assert {"base_model", "epoch_1.0", "checkpoint_global_step_150", "final_model", "latest"} <= set(aliases)
    assert versions[-1].metadata["final_model"] is True
    assert "model.safetensors" in {entry.path for entry in versions[-1].manifest.entries()}


def test_lightning_logger(fit: Fit) -> None:
    run = fit("lightning_logger")
    assert (run.project, run.name, run.tags) == ("digits", "mlp", ["lightning"])
    assert (run.config["width"], run.config["lr"]) == (32, 0.01)
    assert len(column(run, "train/loss")) == 8
    assert column(run, "val/accuracy")[-1] > 0.6
    assert column(run, "trainer/global_step")[0] == 4
    assert any(key.startswith("gradients/") for key in run.metrics())
    (samples,) = column(run, "samples")
    assert (samples["_type"], samples["count"], samples["captions"]) == (
        "images/separated",
        3,
        ["zero", "one", "two"],
    )
    (sizes,) = column(run, "sizes")
    assert (sizes["_type"], sizes["nrows"]) == ("table-file", 2)
    versions = run.logged_artifacts()
    assert versions[-1].name.startswith(f"model-{run.id}")
    assert {"best", "latest"} <= set(versions[-1].aliases)
    assert versions[-1].metadata["original_filename"].endswith(".ckpt")


def test_accelerate_tracker(fit: Fit) -> None:
    run = fit("accelerate_tracker")
    assert (run.project, run.name, run.config) == ("digits", "loop", {"lr": 0.01, "width": 32})
    losses = column(run, "loss")
    assert len(losses) == 58
    assert losses[-1] < losses[0]
    (samples,) = column(run, "samples")
    assert (samples["width"], samples["count"]) == (8, 2)
    (labels,) = column(run, "labels")
    assert (labels["ncols"], labels["nrows"]) == (2, 5)


def test_keras_callbacks(fit: Fit) -> None:
    run = fit("keras_callbacks")
    assert run.config == {"width": 32}
    accuracies = column(run, "epoch/val_accuracy")
    assert len(accuracies) == 2
    assert accuracies[-1] > 0.6
    assert column(run, "epoch/epoch") == [0, 1]
    assert column(run, "batch/batch_step") == list(range(0, 50, 5))
    assert column(run, "epoch/learning_rate")[0] > 0
    api = artline.Api()
    model = api.artifact(f"digits/run_{run.id}_model:latest")
    assert [entry.path for entry in model.manifest.entries()] == ["model.keras"]
    ground = api.artifact("digits/val:latest").get("val_data")
    assert (ground.columns, len(ground)) == (["index", "image", "label"], 5)
    assert isinstance(ground.data[0][1], artline.Image)
    predicted = api.artifact(f"digits/run_{run.id}_pred:v1").get("eval_data")
    assert [row[:2] for row in predicted.data] == [[1, index] for index in range(5)]
    assert "val:v0" in [version.name for version in run.logged_artifacts()]

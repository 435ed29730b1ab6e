"""The native integrations: each a real fit of a small model, and what is read back."""

from __future__ import annotations

import importlib
import pickle
import pkgutil
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

import artline as art
import artline.integrations
from artline.errors import UsageError
from artline.integrations import autolog

pytestmark = [
    pytest.mark.usefixtures("quiet"),
    pytest.mark.filterwarnings("default"),  # the frameworks' own
]


def data(rows: int = 60, seed: int = 0) -> tuple[Any, Any]:
    choose = numpy.random.default_rng(seed)
    x = choose.normal(size=(rows, 4)).astype("float32")
    return x, (x[:, 0] + x[:, 1] > 0).astype("int64")


def ended(run: Any) -> Any:
    run.finish()
    return art.Api().run(f"fits/{run.id}")


def column(run: Any, key: str) -> list[tuple[int, Any]]:
    return [(row["_step"], row[key]) for row in run.scan_history() if key in row]


def models(run: Any) -> list[Any]:
    return [artifact for artifact in run.logged_artifacts() if artifact.type == "model"]


def light(log_every: int = 1) -> Any:
    import lightning.pytorch as pl

    class Net(pl.LightningModule):
        def __init__(self, width: int = 8, lr: float = 0.1) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.net = torch.nn.Sequential(
                torch.nn.Linear(4, width), torch.nn.ReLU(), torch.nn.Linear(width, 2)
            )

        def training_step(self, batch: Any, index: int) -> Any:
            loss = torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])
            self.log("train/loss", loss)
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("val/loss", torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=self.hparams["lr"])

    return Net()


def fit_lightning(folder: Path, logger: Any, epochs: int = 3) -> Any:
    import lightning.pytorch as pl

    x, y = (torch.tensor(part) for part in data())
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=20)
    trainer = pl.Trainer(
        max_epochs=epochs,
        logger=logger,
        accelerator="cpu",
        default_root_dir=folder,
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[pl.callbacks.ModelCheckpoint(monitor="val/loss", save_top_k=1, dirpath=folder / "ckpt")],
    )
    model = light()
    trainer.fit(model, loader, loader)
    return trainer, model


def test_lightning(tmp_path: Path) -> None:
    from artline.integrations.lightning import ArtlineLogger

    logger = ArtlineLogger(project="fits", tags=["light"], log_model=True)
    trainer, _ = fit_lightning(tmp_path, logger)
    run = logger.experiment
    assert (logger.name, logger.version) == ("fits", run.id)
    assert run.state == "running"
    found = ended(run)
    assert (found.config["width"], found.config["lr"], found.tags) == (8, 0.1, ["light"])
    steps = [step for step, _ in column(found, "train/loss")]
    assert steps == list(range(9))
    assert [step for step, _ in column(found, "val/loss")] == [2, 5, 8]
    assert found.summary["val/loss"] == pytest.approx(column(found, "val/loss")[-1][1])
    (model,) = models(found)
    assert {"best", "latest"} <= set(model.aliases)
    assert model.metadata["monitor"] == "val/loss"
    assert model.metadata["score"] == pytest.approx(trainer.checkpoint_callback.best_model_score.item())
    state = torch.load(Path(model.download()) / model.metadata["file"], weights_only=False)["state_dict"]
    assert state["net.0.weight"].shape == (8, 4)


def test_lightning_logs_each_checkpoint_and_watches(tmp_path: Path) -> None:
    from artline.integrations.lightning import ArtlineLogger

    with art.init(project="fits") as run:
        logger = ArtlineLogger(log_model="all", prefix="light")
        assert logger.experiment is run
        net = light()
        logger.watch(net, log_freq=2)
        net.net(torch.ones(1, 4)).sum().backward()
        fit_lightning(tmp_path, logger)
        copied = pickle.loads(pickle.dumps(logger))
        assert copied.version == run.id
    found = ended(run)
    assert column(found, "light/train/loss")
    assert len(models(found)) >= 1


def small_keras() -> Any:
    import keras

    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.layers.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(2, "softmax")]
    )
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_keras(tmp_path: Path) -> None:
    import keras

    from artline.integrations.keras import ArtlineCallback

    model = small_keras()
    x, y = data()
    with art.init(project="fits") as run:
        callback = ArtlineCallback(log_freq=2, log_model="best")
        model.fit(
            x,
            y,
            epochs=3,
            batch_size=10,
            validation_split=0.2,
            verbose=0,
            callbacks=[callback],
            shuffle=False,
        )
        model.evaluate(x, y, verbose=0, callbacks=[callback])
    found = ended(run)
    assert [epoch for _, epoch in column(found, "epoch/epoch")] == [0, 1, 2]
    assert len(column(found, "epoch/val_loss")) == 3
    assert [batch for _, batch in column(found, "batch/batch")] == [2, 4, 6, 8, 10, 12, 14]
    assert column(found, "epoch/learning_rate")[0][1] == pytest.approx(0.1)
    assert len(column(found, "eval/loss")) == 1
    assert (found.config["epochs"], found.config["optimizer"]["name"]) == (3, "sgd")
    kept = models(found)
    assert kept
    best = next(one for one in kept if "best" in one.aliases)
    again = keras.saving.load_model(Path(best.download()) / "model.keras")
    assert again.predict(x[:3], verbose=0).shape == (3, 2)


def trainer_of(folder: Path, callbacks: list[Any], **named: Any) -> Any:
    import transformers

    config = transformers.BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    config.num_labels = 2
    model = transformers.BertForSequenceClassification(config)
    choose = numpy.random.default_rng(0)
    rows = [
        {"input_ids": choose.integers(5, 30, 6).tolist(), "attention_mask": [1] * 6, "labels": n % 2}
        for n in range(24)
    ]
    arguments = transformers.TrainingArguments(
        output_dir=str(folder / "out"),
        max_steps=6,
        logging_steps=2,
        save_steps=3,
        eval_strategy="steps",
        eval_steps=3,
        per_device_train_batch_size=4,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        **named,
    )
    return transformers.Trainer(
        model=model, args=arguments, train_dataset=rows, eval_dataset=rows[:8], callbacks=callbacks
    )


def test_transformers(tmp_path: Path) -> None:
    import transformers

    from artline.integrations.transformers import ArtlineCallback

    with art.init(project="fits") as run:
        trainer = trainer_of(tmp_path, [ArtlineCallback(log_model="checkpoint", watch="gradients")])
        trainer.train()
        assert not any(p._backward_hooks for p in trainer.model.parameters())
    found = ended(run)
    assert [step for step, _ in column(found, "train/loss")] == [2, 4, 6]
    assert [step for step, _ in column(found, "eval/loss")] == [3, 6]
    assert (found.config["max_steps"], found.config["model"]["hidden_size"]) == (6, 16)
    assert found.summary["train/runtime"] > 0
    assert found.summary["parameters"] == sum(p.numel() for p in trainer.model.parameters())
    assert column(found, "gradients/classifier.weight")
    kept = sorted(models(found), key=lambda one: one.metadata["step"])
    assert [one.metadata["step"] for one in kept] == [3, 6]
    again = transformers.BertForSequenceClassification.from_pretrained(kept[-1].download())
    assert torch.equal(again.classifier.weight, trainer.model.classifier.weight)


def test_transformers_keeps_the_model_of_the_end(tmp_path: Path) -> None:
    from artline.integrations.transformers import ArtlineCallback

    with art.init(project="fits") as run:
        trainer_of(tmp_path, [ArtlineCallback(log_model="end")], save_strategy="no").train()
    (model,) = models(ended(run))
    assert "config.json" in {entry.path for entry in model.files()}


def test_xgboost() -> None:
    import xgboost

    from artline.integrations.xgboost import ArtlineCallback

    x, y = data()
    matrix = xgboost.DMatrix(x, y, feature_names=["a", "b", "c", "d"])
    settings = {"objective": "binary:logistic", "eval_metric": ["logloss", "error"], "max_depth": 2}
    with art.init(project="fits") as run:
        booster = xgboost.train(
            settings,
            matrix,
            5,
            evals=[(matrix, "train")],
            verbose_eval=False,
            early_stopping_rounds=5,
            callbacks=[ArtlineCallback(log_model=True)],
        )
    found = ended(run)
    losses = [value for _, value in column(found, "train/logloss")]
    assert len(losses) == 5
    assert losses == sorted(losses, reverse=True)
    assert found.config["xgboost"]["learner"]["objective"]["name"] == "binary:logistic"
    assert found.summary["best_iteration"] == booster.best_iteration
    assert column(found, "feature_importance")
    (model,) = models(found)
    again = xgboost.Booster(model_file=Path(model.download()) / "model.ubj")
    assert numpy.allclose(again.predict(matrix), booster.predict(matrix))


def test_xgboost_estimators_and_cross_validation() -> None:
    import xgboost

    from artline.integrations.xgboost import ArtlineCallback

    x, y = data()
    with art.init(project="fits") as run:
        xgboost.XGBClassifier(n_estimators=3, callbacks=[ArtlineCallback()]).fit(
            x, y, eval_set=[(x, y)], verbose=False
        )
    assert len(column(ended(run), "validation_0/logloss")) == 3
    with art.init(project="fits") as run:
        xgboost.cv(
            {"objective": "binary:logistic"}, xgboost.DMatrix(x, y), 3, nfold=2, callbacks=[ArtlineCallback()]
        )
    found = ended(run)
    assert len(column(found, "test/logloss")) == len(column(found, "test/logloss_std")) == 3


def test_lightgbm() -> None:
    import lightgbm

    from artline.integrations.lightgbm import ArtlineCallback, log_model

    x, y = data()
    train = lightgbm.Dataset(x, y)
    settings = {"objective": "binary", "metric": "binary_logloss", "verbose": -1, "num_leaves": 4}
    with art.init(project="fits") as run:
        booster = lightgbm.train(
            settings,
            train,
            6,
            valid_sets=[train.create_valid(*data(seed=1))],
            valid_names=["valid"],
            callbacks=[ArtlineCallback(), lightgbm.early_stopping(3, verbose=False)],
        )
        log_model(booster, aliases=["candidate"])
        with pytest.raises(UsageError, match="no LightGBM model"):
            log_model(3)
    found = ended(run)
    assert [value for _, value in column(found, "iteration")] == list(range(6))
    assert len(column(found, "valid/binary_logloss")) == 6
    assert (found.config["objective"], found.config["num_leaves"]) == ("binary", 4)
    assert found.summary["best_iteration"] == booster.best_iteration
    (model,) = models(found)
    assert "candidate" in model.aliases
    again = lightgbm.Booster(model_file=Path(model.download()) / "model.txt")
    assert numpy.allclose(again.predict(x), booster.predict(x))
    with art.init(project="fits") as run:
        lightgbm.cv(settings, lightgbm.Dataset(x, y), 3, nfold=2, callbacks=[ArtlineCallback()])
    assert any(key.endswith("_std") for row in ended(run).scan_history() for key in row)


def test_sklearn_classifier() -> None:
    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import train_test_split

    from artline.integrations import sklearn as plots

    iris = load_iris()
    parts = train_test_split(iris.data, iris.target, random_state=0)
    model = RandomForestClassifier(n_estimators=10, random_state=0).fit(parts[0], parts[2])
    with art.init(project="fits") as run:
        plots.plot_classifier(
            model,
            *parts,
            labels=list(iris.target_names),
            feature_names=iris.feature_names,
            model_name="forest",
        )
        plots.plot_learning_curve(model, iris.data, iris.target, cv=3, train_sizes=[0.5, 1.0])
        plots.plot_calibration_curve(parts[3] == 0, model.predict_proba(parts[1])[:, 0], n_bins=4)
    found = ended(run)
    assert (found.config["n_estimators"], found.config["model_name"]) == (10, "forest")
    assert found.summary["train/accuracy"] == 1.0
    assert found.summary["test/f1"] == pytest.approx(0.97, abs=0.03)
    logged = {key for row in found.scan_history() for key in row}
    assert {
        "confusion_matrix",
        "roc",
        "precision_recall",
        "feature_importances",
        "learning_curve",
        "calibration_curve",
    } <= {key.removesuffix("_table") for key in logged}


def test_sklearn_regressor() -> None:
    from sklearn.datasets import load_diabetes
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from artline.integrations import sklearn as plots

    x, y = load_diabetes(return_X_y=True)
    model = make_pipeline(StandardScaler(), Ridge(0.5)).fit(x[:300], y[:300])
    with art.init(project="fits") as run:
        plots.plot_regressor(model, x[:300], x[300:], y[:300], y[300:])
        with pytest.raises(UsageError, match="has no importances"):
            plots.plot_feature_importances(StandardScaler())
    found = ended(run)
    assert found.config["ridge__alpha"] == 0.5
    assert found.summary["test/r2"] == pytest.approx(model.score(x[300:], y[300:]))
    assert {"residuals", "feature_importances"} <= {key for row in found.scan_history() for key in row}


def test_torch_checkpoints() -> None:
    from artline.integrations.torch import load_checkpoint, log_checkpoint

    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    with art.init(project="fits") as run:
        first = log_checkpoint(
            {"model": model, "optimizer": optimizer, "epoch": 3},
            "net",
            aliases=["best"],
            metadata={"acc": 0.9},
        )
        again = log_checkpoint({"model": model, "optimizer": optimizer, "epoch": 3}, "net")
        assert again.version == first.version == "v0"
        log_checkpoint(model, "weights")
    with art.init(project="fits") as later:
        state = load_checkpoint("net:best")
        other = torch.nn.Linear(3, 2)
        other.load_state_dict(state["model"])
        torch.optim.Adam(other.parameters()).load_state_dict(state["optimizer"])
        assert (state["epoch"], torch.equal(other.weight, model.weight)) == (3, True)
        assert set(load_checkpoint("weights:latest")) == {"weight", "bias"}
    assert [one.metadata.get("acc") for one in models(ended(run)) if one.name.startswith("net")] == [0.9]
    assert len(ended(later).used_artifacts()) == 2
    with pytest.raises(UsageError, match="no run is in progress"):
        log_checkpoint(model)


def test_autolog_logs_every_framework(tmp_path: Path) -> None:
    import lightgbm
    import xgboost

    x, y = data()
    autolog(log_models=True)
    try:
        with art.init(project="fits") as run:
            fit_lightning(tmp_path, False, epochs=1)
            small_keras().fit(x, y, epochs=2, verbose=0)
            trainer_of(tmp_path, []).train()
            xgboost.train(
                {"objective": "binary:logistic"},
                xgboost.DMatrix(x, y),
                2,
                evals=[(xgboost.DMatrix(x, y), "xg")],
            )
            lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(
                x, y, eval_set=[(x, y)], eval_names=["lg"]
            )
        small_keras().fit(x, y, epochs=1, verbose=0)  # without a run nothing is logged, and nothing fails
    finally:
        autolog(disable=True)
    found = ended(run)
    for key in ("val/loss", "epoch/loss", "eval/loss", "xg/logloss", "lg/binary_logloss"):
        assert column(found, key), key
    assert len(models(found)) == 4
    with art.init(project="fits") as run:
        small_keras().fit(x, y, epochs=1, verbose=0)
    assert list(ended(run).scan_history()) == []
    with pytest.raises(UsageError, match="'fastai' is not known"):
        autolog(["fastai"])


def test_a_callback_without_a_run_says_what_to_do() -> None:
    from artline.integrations.keras import ArtlineCallback

    x, y = data()
    with pytest.raises(UsageError, match=r"Call artline.init"):
        small_keras().fit(x, y, verbose=0, callbacks=[ArtlineCallback()])


@pytest.mark.parametrize(
    "name", sorted(module.name for module in pkgutil.iter_modules(artline.integrations.__path__))
)
def test_all_is_sorted_and_exists(name: str) -> None:
    module = importlib.import_module(f"artline.integrations.{name}")
    assert all(hasattr(module, entry) for entry in module.__all__)
    assert list(module.__all__) == sorted(
        set(module.__all__), key=lambda one: (one[1:] != one[1:].upper(), one)
    )

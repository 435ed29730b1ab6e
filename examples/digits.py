"""From raw data to a promoted model, on real data: run it with `make demo`.

scikit-learn's 1,797 handwritten digits, enlarged for human eyes, become `digits:v0`. A stated rule cleans
them into `digits:v1`. Three networks train on exactly that version and leave their metrics, predictions and
models; the best becomes `production`, its lineage is printed, and it is pulled back by digest and checked.

Run it again: data that did not change makes no new version. The store lies under ART_HOME, or in .demo/.
"""

from __future__ import annotations

import csv
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

import artline as art

PROJECT = "digits"
SIDE = 64  # pixels; the original has 8
# Images of one label that are closer than this (Euclidean, over 8 x 8 means of 0 to 16) are near-duplicates.
NEAR = 8.0
NEIGHBOURS, AGREEING = 10, 7  # so many of the nearest images under one other label: the label looks wrong
EPOCHS = 30
VARIANTS = (
    {"name": "small", "hidden": 16, "rate": 0.1},
    {"name": "wide", "hidden": 96, "rate": 0.1},
    {"name": "hasty", "hidden": 64, "rate": 1.5},
)


@dataclass(frozen=True, slots=True)
class Digits:
    """Image file names, their pixels as (n, 64) floats of 0 to 1, and their labels as (n,) integers."""

    files: list[str]
    pixels: np.ndarray
    labels: np.ndarray


def main() -> None:
    started = time.monotonic()
    root = Path(os.environ.setdefault("ART_HOME", str(Path(__file__).parents[1] / ".demo")))
    os.environ.setdefault("ART_QUIET", "1")  # this script tells the story itself
    with tempfile.TemporaryDirectory(prefix="digits-") as scratch:
        work = Path(scratch)
        chapter("1. The data as it came")
        import_digits(work / "import")
        chapter("2. The data cleaned, as a second version")
        clean_digits(work / "clean")
        command("diff", "digits:v0", "digits:v1", show=12, statuses=[1])  # 1: they differ
        chapter("3. Three networks, each trained on digits:v1")
        for variant in VARIANTS:
            train(variant, work)
        chapter("4. The best one promoted")
        best = promote()
        chapter("5. Where it comes from")
        lineage = command("lineage", "digits-mlp:production")
        expect("digits:v1" in lineage and "digits:v0" in lineage, "the lineage reaches the raw data")
        chapter("6. What it cost to keep everything")
        report_storage()
        chapter("7. The model pulled back by its digest, into a fresh folder")
        pull_back(best, work / "pulled")
    print(f"\nAll of it took {time.monotonic() - started:.1f} s. Look around:")
    print(f"    export ART_HOME={shlex.quote(str(root))} ART_PROJECT={PROJECT}")
    for arguments in (
        "ls",
        "runs ls",
        "show digits-mlp:production",
        "ui    # the web interface, once it is there",
    ):
        print(f"    {shlex.quote(str(Path(sys.executable).with_name('art')))} {arguments}")


def import_digits(folder: Path) -> None:
    """Log the images, as scikit-learn ships them, and their labels."""
    raw = load_digits()
    images = folder / "images"
    images.mkdir(parents=True)
    files = [f"images/{number:04d}.png" for number in range(len(raw.target))]
    for name, pixels in zip(files, raw.images, strict=True):
        small = Image.fromarray(np.rint(pixels * 255 / 16).astype(np.uint8))
        small.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder / name)
    write_rows(folder / "labels.csv", ["file", "label"], zip(files, raw.target, strict=True))

    with start("import", "import") as run:
        artifact = art.Artifact(
            "digits",
            type="dataset",
            description=f"Handwritten digits as shipped with scikit-learn, at {SIDE} x {SIDE} pixels",
            metadata={"source": "sklearn.datasets.load_digits", "rows": len(files)},
        )
        artifact.add_dir(str(images), "images")
        artifact.add_file(str(folder / "labels.csv"))
        tell_version(run.log_artifact(artifact), "v0")


def clean_digits(folder: Path) -> None:
    """Take out near-duplicates and rows whose label looks wrong, and log what is left."""
    with start(
        "clean", "clean", config={"near": NEAR, "neighbours": NEIGHBOURS, "agreeing": AGREEING}
    ) as run:
        source = run.use_artifact("digits:v0").download(folder)
        digits = read_digits(source)
        reasons = find_faults(digits)
        for name in reasons:
            (source / name).unlink()
        kept = [
            (name, label)
            for name, label in zip(digits.files, digits.labels, strict=True)
            if name not in reasons
        ]
        write_rows(source / "labels.csv", ["file", "label"], kept)
        write_rows(source / "removed.csv", ["file", "reason"], sorted(reasons.items()))
        counts = Counter("near-duplicate" if "distance" in why else "mislabelled" for why in reasons.values())
        run.log(
            {
                "rows/before": len(digits.files),
                "rows/after": len(kept),
                **{f"removed/{k}": n for k, n in counts.items()},
            }
        )
        artifact = art.Artifact(
            "digits",
            type="dataset",
            description="Without near-duplicates and without labels that the neighbours contradict",
            metadata={"rule": rule(), "rows": len(kept), "removed": dict(counts)},
        )
        artifact.add_dir(str(source))
        version = run.log_artifact(artifact)
    print(f"Rule: {rule()}")
    print(
        f"{len(digits.files):,} rows - {counts['near-duplicate']} near-duplicates - {counts['mislabelled']} "
        f"mislabelled-looking = {len(kept):,} rows, for example"
    )
    for name, why in list(reasons.items())[:3]:
        print(f"    {name}: {why}")
    expect(
        0 < len(reasons) < 100 and len(kept) + len(reasons) == len(digits.files), "every row is accounted for"
    )
    tell_version(version, "v1")


def rule() -> str:
    return (
        f"drop an image closer than {NEAR:g} to an earlier one of the same label; "
        f"drop an image when {AGREEING} of its {NEIGHBOURS} nearest carry one other label"
    )


def find_faults(digits: Digits) -> dict[str, str]:
    """Return the files to drop, each with the reason."""
    pixels = digits.pixels * 16
    squares = (pixels**2).sum(axis=1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * pixels @ pixels.T, 0))
    np.fill_diagonal(distances, np.inf)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :NEIGHBOURS]
    faults: dict[str, str] = {}
    for row, name in enumerate(digits.files):
        label = int(digits.labels[row])
        votes = np.bincount(digits.labels[nearest[row]], minlength=10)
        likely = int(votes.argmax())
        if likely != label and votes[likely] >= AGREEING:
            faults[name] = f"labelled {label}, but {votes[likely]} of its {NEIGHBOURS} nearest are {likely}"
    for row, name in enumerate(digits.files):
        for other in np.flatnonzero(distances[row, :row] < NEAR):
            twin = digits.files[other]
            if digits.labels[other] == digits.labels[row] and not {name, twin} & faults.keys():
                faults[name] = f"distance {distances[row, other]:.1f} to {twin}"
    return dict(sorted(faults.items()))


def train(variant: dict[str, Any], folder: Path) -> None:
    """Train one network; log its metrics each epoch, then its predictions and its weights."""
    with start(str(variant["name"]), "train", config={**variant, "epochs": EPOCHS, "seed": 0}) as run:
        run.define_metric("val/loss", summary="min")
        data = run.use_artifact("digits:v1").download(folder / "digits")
        digits = read_digits(data)
        order = np.random.default_rng(run.config["seed"]).permutation(len(digits.files))
        held_out, rest = order[:350], order[350:]
        network = Network(run.config["hidden"], run.config["seed"])
        for _ in range(run.config["epochs"]):
            loss = network.epoch(digits.pixels[rest], digits.labels[rest], run.config["rate"])
            guess = network.predict(digits.pixels[held_out])
            accuracy = float((guess.argmax(axis=1) == digits.labels[held_out]).mean())
            truth = guess[np.arange(len(held_out)), digits.labels[held_out]]
            run.log(
                {
                    "train/loss": loss,
                    "val/loss": float(-np.log(truth + 1e-12).mean()),
                    "val/accuracy": accuracy,
                }
            )

        rows = [
            [
                art.Image(data / digits.files[row]),
                digits.files[row],
                int(digits.labels[row]),
                int(guess[place].argmax()),
                float(guess[place].max()),
            ]
            for place, row in enumerate(held_out)
        ]
        table = art.Table(columns=["image", "file", "label", "predicted", "confidence"], data=rows)
        predictions = art.Artifact(
            "digits-predictions", type="predictions", metadata={"network": variant["name"]}
        )
        predictions.add(table, "predictions")
        run.log_artifact(predictions, aliases=[str(variant["name"])])

        weights = folder / f"{variant['name']}.npz"
        network.save(weights)
        model = art.Artifact(
            "digits-mlp", type="model", metadata={"accuracy": accuracy, "network": variant["name"]}
        )
        model.add_file(str(weights))
        logged = run.log_artifact(model, aliases=[str(variant["name"])])
        print(
            f"{variant['name']:>6}: {variant['hidden']:3d} hidden units, rate {variant['rate']:3.1f}: "
            f"{accuracy:6.1%} of {len(held_out)} held-out digits right -> digits-mlp:{logged.version}"
        )


class Network:
    """One hidden layer (tanh), softmax, plain mini-batch gradient descent."""

    def __init__(self, hidden: int, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self.weights = [
            self._random.normal(0, 1 / 8, (64, hidden)),
            np.zeros(hidden),
            self._random.normal(0, 1 / np.sqrt(hidden), (hidden, 10)),
            np.zeros(10),
        ]

    def predict(self, pixels: np.ndarray) -> np.ndarray:
        """Return the probability of each digit, shape (n, 10)."""
        first, bias, second, bias2 = self.weights
        scores = np.tanh(pixels @ first + bias) @ second + bias2
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        probabilities: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
        return probabilities

    def epoch(self, pixels: np.ndarray, labels: np.ndarray, rate: float, batch: int = 32) -> float:
        """Go through the rows once, in random order, and return the mean loss."""
        total = 0.0
        order = self._random.permutation(len(labels))
        for rows in np.array_split(order, len(order) // batch):
            first, bias, second, _ = self.weights
            hidden = np.tanh(pixels[rows] @ first + bias)
            error = self.predict(pixels[rows])
            total -= float(np.log(error[np.arange(len(rows)), labels[rows]] + 1e-12).sum())
            error[np.arange(len(rows)), labels[rows]] -= 1
            error /= len(rows)
            back = error @ second.T * (1 - hidden**2)
            slopes = (pixels[rows].T @ back, back.sum(axis=0), hidden.T @ error, error.sum(axis=0))
            for weight, slope in zip(self.weights, slopes, strict=True):
                weight -= rate * slope
        return total / len(order)

    def save(self, file: Path) -> None:
        np.savez(file, *self.weights)

    @classmethod
    def load(cls, file: Path) -> Network:
        with np.load(file) as stored:
            weights = [stored[f"arr_{place}"] for place in range(4)]
        network = cls(weights[0].shape[1], 0)
        network.weights = weights
        return network


def promote() -> Any:
    """Give the alias `production` to the model of the run with the highest accuracy."""
    finished = list(art.Api().runs(PROJECT, {"job_type": "train", "state": "finished"}))
    expect(len(finished) >= len(VARIANTS), "every training run is there")
    best = max(finished, key=lambda run: run.summary["val/accuracy"])
    history = best.history(keys=["val/accuracy"])
    expect(len(history) == EPOCHS, f"{EPOCHS} epochs can be read back")
    model = next(a for a in best.logged_artifacts() if a.type == "model")
    print(f"{best.name} reached {best.summary['val/accuracy']:.1%}")
    command("alias", f"digits-mlp:{model.version}", "production")
    promoted = art.Api().artifact(f"{PROJECT}/digits-mlp:production")
    expect(promoted.digest == model.digest, "production is the best model")
    return promoted


def report_storage() -> None:
    """Compare what the versions hold with what the store keeps for them."""
    api = art.Api()
    versions = [
        version
        for kind, name in (
            ("dataset", "digits"),
            ("predictions", "digits-predictions"),
            ("model", "digits-mlp"),
        )
        for version in api.artifacts(kind, f"{PROJECT}/{name}")
    ]
    logical = sum(version.size for version in versions)
    stored = api.store.artifacts.content.usage().stored_bytes
    print(
        f"{len(versions)} versions hold {logical / 1024:,.0f} KiB; the store keeps them in "
        f"{stored / 1024:,.0f} KiB, {1 - stored / logical:.0%} less, since equal content is kept once"
    )
    expect(stored < logical, "equal content is kept once")


def pull_back(model: Any, folder: Path) -> None:
    """Pull the promoted model by digest; check that it predicts what its run predicted."""
    reference = f"digits-mlp@{model.digest}"
    command("pull", reference, str(folder))
    command("verify", reference, str(folder))
    network = Network.load(folder / f"{model.metadata['network']}.npz")

    table = art.Api().artifact(f"{PROJECT}/digits-predictions:{model.metadata['network']}").get("predictions")
    pixels = np.stack([shrink(image.to_numpy()) for image in table.get_column("image")])
    again = network.predict(pixels).argmax(axis=1).tolist()
    expect(again == table.get_column("predicted"), "the pulled model predicts the same")
    print(f"It gives the same answer as in training for all {len(again)} held-out digits")


def start(name: str, job: str, config: dict[str, Any] | None = None) -> art.Run:
    return art.init(project=PROJECT, name=name, job_type=job, config=config, tags=["demo"])


def read_digits(folder: Path) -> Digits:
    """Read the images that labels.csv names."""
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    pixels = np.stack([shrink(np.asarray(Image.open(folder / row["file"]))) for row in rows])
    return Digits([row["file"] for row in rows], pixels, np.array([int(row["label"]) for row in rows]))


def shrink(image: np.ndarray) -> np.ndarray:
    """Return the means of 8 x 8 blocks as 64 floats of 0 to 1."""
    step = SIDE // 8
    means: np.ndarray = image.reshape(8, step, 8, step).mean(axis=(1, 3)).ravel() / 255
    return means


def write_rows(file: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with file.open("w", newline="") as target:
        writer = csv.writer(target, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def command(*arguments: str, show: int = 1000, statuses: Sequence[int] = (0,)) -> str:
    """Run an `art` command as a person would; print it and what it says; fail when it fails."""
    print("$ art " + shlex.join(arguments))
    environment = {**os.environ, "ART_PROJECT": PROJECT}
    done = subprocess.run(
        [sys.executable, "-m", "artline", *arguments], env=environment, capture_output=True, text=True
    )
    lines = done.stdout.splitlines()
    for line in lines[:show]:
        print(f"    {line}")
    if len(lines) > show:
        print(f"    … {len(lines) - show} more lines")
    if done.returncode not in statuses:
        sys.exit(f"art {shlex.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def tell_version(artifact: Any, expected: str) -> None:
    print(
        f"digits:{artifact.version}: {artifact.file_count:,} files, {artifact.size / 1024:,.0f} KiB, "
        f"{artifact.digest}"
    )
    expect(artifact.version == expected, f"unchanged data stays {expected}")


def expect(truth: bool, what: str) -> None:
    if not truth:
        sys.exit(f"The demo failed: not true that {what}")


def chapter(title: str) -> None:
    print(f"\n{title}\n{'-' * len(title)}")


if __name__ == "__main__":
    main()

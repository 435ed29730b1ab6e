"""``run.watch`` on real torch modules."""

from __future__ import annotations

import contextlib
import copy
import gc
import io
import itertools
import json
import math
import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import artline as art
from artline.errors import UsageError
from artline.runs.gradients import histogram_text, tensor_histogram

FINFO = torch.finfo(torch.float32)


@pytest.fixture
def run(store_root: Path) -> Iterator[Any]:
    """Return a quiet run; its history is read back once it has ended."""
    with art.init(project="nets", settings={"quiet": True, "console": False, "save_code": False}) as run:
        yield run


def rows(run: Any) -> list[dict[str, Any]]:
    run.finish()
    return list(art.Api().run(f"nets/{run.id}").scan_history())


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))


def train(run: Any, model: nn.Module, batches: int, *, lr: float = 0.1) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(batches):
        optimizer.zero_grad()
        loss = model(torch.randn(16, 4)).square().mean()
        loss.backward()
        optimizer.step()
        run.log({"loss": loss.item()})


def test_gradients_go_with_the_row_of_their_batch(run: Any) -> None:
    model = net()
    run.watch(model, log_freq=3)
    train(run, model, 10)
    found = rows(run)
    names = {"gradients/0.weight", "gradients/0.bias", "gradients/2.weight", "gradients/2.bias"}
    assert [row["_step"] for row in found if names <= row.keys()] == [2, 5, 8]
    assert all(row["loss"] >= 0 for row in found)
    histogram = found[2]["gradients/0.weight"]
    assert histogram["_type"] == "histogram"
    assert (len(histogram["values"]), len(histogram["bins"])) == (64, 65)
    assert sum(histogram["values"]) == 32
    assert "parameters/0.weight" not in found[2]


@pytest.mark.parametrize("what", ["parameters", "all"])
def test_parameters_are_those_of_the_batch(run: Any, what: Any) -> None:
    model = net()
    before = model[0].weight.detach().clone()
    run.watch(model, log=what, log_freq=1)
    train(run, model, 2)
    first, second = rows(run)
    assert first["parameters/0.weight"]["bins"][0] == pytest.approx(before.min().item(), rel=1e-6)
    assert first["parameters/0.weight"]["bins"][-1] == pytest.approx(before.max().item(), rel=1e-6)
    assert second["parameters/0.weight"] != first["parameters/0.weight"]
    assert ("gradients/0.weight" in first) == (what == "all")


def test_the_default_frequency_is_a_thousand_batches(run: Any) -> None:
    model = nn.Linear(1, 1)
    run.watch(model)
    for _ in range(2001):
        model(torch.ones(1, 1)).sum().backward()
        run.log({"x": 1})
    assert [row["_step"] for row in rows(run) if "gradients/weight" in row] == [999, 1999]


def test_unwatch_takes_all_hooks_away(run: Any) -> None:
    one, two = net(), net()
    run.watch([one, two], log_freq=1)
    run.unwatch(one)
    assert not any(p._backward_hooks for p in one.parameters())
    assert all(p._backward_hooks for p in two.parameters())
    train(run, one, 1)
    train(run, two, 1)
    run.unwatch()
    assert not any(p._backward_hooks for p in two.parameters())
    train(run, two, 1)
    found = rows(run)
    assert [sum(key.startswith("gradients/") for key in row) for row in found] == [0, 4, 0]
    assert "gradients/graph_1.0.weight" in found[1]


def test_a_model_can_be_watched_again(run: Any) -> None:
    model = net()
    run.watch(model, log_freq=1)
    with pytest.raises(UsageError, match="watched already"):
        run.watch(model)
    run.unwatch(model)
    run.watch(model, log_freq=1, idx=2)
    train(run, model, 1)
    assert "gradients/graph_2.0.weight" in rows(run)[0]


def test_the_end_of_the_run_takes_hooks_away_and_keeps_what_was_taken(run: Any) -> None:
    model = net()
    run.watch(model, log_freq=1)
    model(torch.ones(1, 4)).sum().backward()
    found = rows(run)
    assert "gradients/0.weight" in found[-1]
    assert not any(p._backward_hooks for p in model.parameters())


def test_a_watched_model_is_not_kept_alive(run: Any) -> None:
    model = net()
    run.watch(model, log="all", log_freq=1)
    train(run, model, 3)
    seen = weakref.ref(model), [weakref.ref(p) for p in model.parameters()]
    gc.disable()
    try:
        del model
        assert seen[0]() is None
        assert all(p() is None for p in seen[1])
    finally:
        gc.enable()
    other = net()
    run.watch(other, log_freq=1)  # the first place is free again
    train(run, other, 1)
    assert "gradients/0.weight" in rows(run)[-1]


def test_shared_frozen_unfrozen_and_unused_parameters(run: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 4)
            self.second = nn.Linear(4, 4)
            self.second.weight = self.first.weight
            self.unused = nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(self.first(x))

    model = Net()
    model.first.bias.requires_grad_(False)
    run.watch(model, log_freq=2)
    train(run, model, 3)
    model.first.bias.requires_grad_(True)
    train(run, model, 5)
    found = rows(run)
    early = {key for key in found[1] if key.startswith("gradients/")}
    assert early == {"gradients/first.weight", "gradients/second.bias"}
    assert not any(key.startswith("gradients/") for row in found[0::2] for key in row)
    assert "gradients/first.bias" in found[7]
    assert not any("unused" in key for row in found for key in row)


def test_a_part_that_takes_turns_is_taken_when_it_next_has_a_gradient(run: Any) -> None:
    trunk, heads = nn.Linear(4, 4), nn.ModuleList((nn.Linear(4, 1), nn.Linear(4, 1)))
    model = nn.ModuleList((trunk, heads))
    run.watch(model, log_freq=4)
    for n in range(16):
        heads[n % 2](trunk(torch.randn(2, 4))).sum().backward()
        run.log({"n": n})
    found = rows(run)
    for name in ("gradients/0.weight", "gradients/1.0.weight", "gradients/1.1.weight"):
        assert sum(name in row for row in found) in (3, 4), name


def test_sparse_gradients_count_their_zeros(run: Any) -> None:
    model = nn.Embedding(100, 3, sparse=True)
    run.watch(model, log_freq=1)
    model(torch.tensor([1, 1, 2])).sum().backward()
    run.log({"x": 1})
    histogram = rows(run)[0]["gradients/weight"]
    assert sum(histogram["values"]) == 300
    assert histogram["values"][0] == 294  # zeros; six values are 1 or 2
    assert histogram["bins"][0] == 0.0
    assert histogram["bins"][-1] == 2.0


def test_gradients_that_are_not_finite_are_counted_apart(run: Any) -> None:
    model = nn.Linear(3, 1, bias=False)
    run.watch(model, log_freq=1)
    model(torch.tensor([[math.nan, math.inf, 2.0]])).sum().backward()
    run.log({"x": 1})
    histogram = rows(run)[0]["gradients/weight"]
    assert (sum(histogram["values"]), histogram["nan"], histogram["inf"]) == (1, 1, 1)


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda model: torch.compile(model, backend="eager")])
def test_names_are_the_models_own_under_a_wrapper(run: Any, wrap: Any) -> None:
    model = wrap(net())
    run.watch(model, log="all", log_freq=1)
    train(run, model, 1)
    assert {"gradients/0.weight", "parameters/2.bias"} <= rows(run)[0].keys()


def test_one_transfer_for_all_parameters(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(20)))
    run.watch(model, log="all", log_freq=1)
    moved: list[int] = []
    original = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: moved.append(self.numel()) or original(self))
    train(run, model, 1)
    assert moved == [80 * 68]


def test_gradients_are_not_changed_and_copies_are_clean(run: Any) -> None:
    watched, plain = net(), net()
    run.watch(watched, log="all", log_freq=1)
    x = torch.randn(5, 4)
    for model in (watched, plain):
        model(x).square().sum().backward()
    for one, other in zip(watched.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)
    copied = copy.deepcopy(watched)
    assert not any(p._backward_hooks for p in copied.parameters())
    torch.save(watched, io.BytesIO())  # warnings are errors here


def test_checkpointed_models_are_taken_whole(run: Any) -> None:
    from torch.utils.checkpoint import checkpoint

    blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
    run.watch(blocks, log_freq=2)
    for _ in range(4):
        x = torch.randn(2, 4, requires_grad=True)
        for block in blocks:
            x = checkpoint(block, x, use_reentrant=True)
        x.sum().backward()
        run.log({"x": 1})
    taken = [sum(key.startswith("gradients/") for key in row) for row in rows(run)]
    assert taken == [0, 6, 0, 6]


def test_a_forked_child_logs_nothing_and_does_not_fail(run: Any) -> None:
    model = net()
    run.watch(model, log_freq=1)
    child = os.fork()
    if child == 0:
        with contextlib.suppress(Exception):
            model(torch.ones(1, 4)).sum().backward()
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    train(run, model, 1)
    assert "gradients/0.weight" in rows(run)[0]


def test_a_failure_ends_watching_and_not_the_training(
    run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = net()
    run.watch(model, log_freq=1)
    monkeypatch.setattr("artline.runs.gradients.tensor_histogram", lambda tensor: 1 / 0)
    train(run, model, 3)
    assert capsys.readouterr().err.count("watch: stopped after ZeroDivisionError") == 1
    assert len(rows(run)) == 3


def test_the_graph_is_a_file_of_the_run(run: Any) -> None:
    run.watch(net(), criterion=nn.MSELoss(), log=None, log_graph=True)
    graph = json.loads((Path(run.dir) / "graph_0.json").read_text())
    assert graph["parameters"] == 58
    assert graph["criterion"] == "MSELoss"
    assert [node["class"] for node in graph["modules"]] == ["Sequential", "Linear", "Tanh", "Linear"]
    assert graph["modules"][1]["parameters"][0] == {
        "name": "weight",
        "shape": [8, 4],
        "dtype": "float32",
        "trainable": True,
    }


@pytest.mark.parametrize(
    "bad", [{"models": 3}, {"models": "net"}, {"log": "weights"}, {"log_freq": 0}, {"log_freq": 1.5}]
)
def test_what_cannot_be_watched_says_so(run: Any, bad: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"^watch: "):
        run.watch(**{"models": net(), **bad})


def test_a_frozen_model_is_said_to_log_nothing(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run.watch(net().requires_grad_(False))
    assert "needs a gradient" in capsys.readouterr().err


def test_the_module_functions_and_a_disabled_run(store_root: Path) -> None:
    model = net()
    with art.init(mode="disabled"):
        art.watch(model)
        art.unwatch(model)
    assert not any(p._backward_hooks for p in model.parameters())
    with pytest.raises(UsageError, match="no run is in progress"):
        art.watch(model)


@pytest.mark.parametrize(
    "values",
    [
        torch.randn(1000),
        torch.randn(1000, dtype=torch.float64) * 1e300,
        torch.randn(100).half(),
        torch.randn(100).bfloat16(),
        torch.randn(50, dtype=torch.complex64),
        torch.zeros(7),
        torch.full((3,), 1e-30),
        torch.tensor([FINFO.max, -FINFO.max, 0.0]),
        torch.tensor([FINFO.tiny / 8, 0.0]),
        torch.tensor([math.inf, -math.inf, math.nan]),
        torch.tensor([5.0]),
        torch.arange(12).reshape(3, 4).t(),
        torch.ones(3, dtype=torch.bool),
        torch.eye(4).to_sparse_coo(),
    ],
    ids=itertools.count(),
)
def test_every_value_is_counted_once(values: torch.Tensor) -> None:
    numbers = tensor_histogram(values).tolist()
    assert sum(numbers[:66]) == values.numel() * (2 if values.is_complex() else 1)
    record = json.loads(histogram_text(numbers) or "")
    assert record["bins"] == sorted(record["bins"])


def test_counts_are_those_of_numpy() -> None:
    import numpy

    values = torch.randn(5000, dtype=torch.float32)
    record = json.loads(histogram_text(tensor_histogram(values).tolist()) or "")
    counts, edges = numpy.histogram(values.double().numpy(), bins=64)
    assert numpy.abs(numpy.array(record["values"]) - counts).sum() <= 4  # values beside an edge
    assert record["bins"] == pytest.approx(edges.tolist(), rel=1e-4, abs=1e-6)


def test_an_empty_tensor_has_no_histogram() -> None:
    assert histogram_text(tensor_histogram(torch.zeros(0)).tolist()) is None

"""Hugging Face transformers: ``ArtlineCallback`` for ``Trainer``."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Any, Literal

from transformers import TrainerCallback

from artline.errors import UsageError
from artline.integrations.training import describe, keep_model, numbers, run_for

if TYPE_CHECKING:
    from artline.runs.run import Run
    from artline.runs.watch import Watched

__all__ = ["ArtlineCallback"]


class ArtlineCallback(TrainerCallback):
    """A callback for ``Trainer(callbacks=[…])``, with ``report_to="none"`` in its arguments.

    Metrics are logged at the trainer's global step, as ``train/loss``, ``eval/loss`` and so on; the training
    arguments and the model's config become config, what the trainer sums up at the end the summary.
    ``log_model``: ``"checkpoint"`` keeps each checkpoint that the trainer saves, ``"end"`` the model (and the
    tokenizer) after the training. ``watch`` is ``log`` of Run.watch. In a distributed training only the
    first process logs. Raises UsageError without a run.
    """

    def __init__(
        self,
        log_model: Literal["end", "checkpoint"] | None = None,
        watch: Watched | None = None,
        run: Run | None = None,
    ) -> None:
        if log_model not in ("end", "checkpoint", None):
            raise UsageError(
                f"ArtlineCallback: log_model must be 'end', 'checkpoint' or None, not {log_model!r}"
            )
        self._log_model = log_model
        self._watch = watch
        self._given = run

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Describe the training."""
        if not state.is_world_process_zero:
            return
        run = self._run()
        describe(run, args.to_sanitized_dict())
        if model is not None:
            config = getattr(model, "config", None)
            if config is not None and hasattr(config, "to_dict"):
                describe(run, {"model": config.to_dict()})
            run.summary["parameters"] = sum(parameter.numel() for parameter in model.parameters())
            if self._watch is not None:
                run.watch(model, log=self._watch, log_freq=max(1, int(args.logging_steps)))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Log what the trainer logs."""
        if not state.is_world_process_zero:
            return
        run = self._run()
        ended = {"train_runtime", "train_samples_per_second", "total_flos"} & (logs or {}).keys()
        row = {}
        for key, value in numbers(logs or {}).items():
            part, mark, rest = key.partition("_")
            if part in ("eval", "test") and mark:
                row[f"{part}/{rest}"] = value
            elif ended:
                run.summary[f"train/{key.removeprefix('train_')}"] = value
            else:
                row[f"train/{key}"] = value
        if row:
            run.log(row, step=state.global_step)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep the checkpoint, where asked."""
        folder = os.path.join(args.output_dir, f"checkpoint-{state.global_step}")
        if self._log_model == "checkpoint" and state.is_world_process_zero and os.path.isdir(folder):
            best = state.best_model_checkpoint
            is_best = best is not None and os.path.abspath(best) == os.path.abspath(folder)
            self._keep(folder, state, ["latest", *(["best"] if is_best else [])])

    def on_train_end(
        self,
        args: Any,
        state: Any,
        control: Any,
        model: Any = None,
        processing_class: Any = None,
        **kwargs: Any,
    ) -> None:
        """Keep the model, where asked."""
        if not state.is_world_process_zero:
            return
        if self._watch is not None and model is not None:
            self._run().unwatch(model)
        if self._log_model == "end" and model is not None:
            with tempfile.TemporaryDirectory(prefix="artline-transformers-") as folder:
                model.save_pretrained(folder)
                if processing_class is not None:
                    processing_class.save_pretrained(folder)
                self._keep(folder, state, ["latest"])

    def _keep(self, folder: str, state: Any, aliases: list[str]) -> None:
        metadata = {"step": state.global_step, "epoch": state.epoch, "score": state.best_metric}
        keep_model(self._run(), folder, None, aliases, metadata)

    def _run(self) -> Run:
        return run_for(self._given, "ArtlineCallback")

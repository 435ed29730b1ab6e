"""``wandb.integration.sb3``: a callback for Stable-Baselines3, which logs through TensorBoard."""

from __future__ import annotations

import os
from typing import Any, Literal

from stable_baselines3.common.callbacks import BaseCallback

import artline
from artline.compat.wandb.session import run_for
from artline.runs.notices import warn

__all__ = ["WandbCallback"]

_WATCHED = ("gradients", "parameters", "all", None)


class WandbCallback(BaseCallback):
    """Keep the algorithm's settings, watch its policy, and save the model.

    Metrics come from the algorithm's TensorBoard files: pass ``tensorboard_log`` to it and
    ``sync_tensorboard=True`` to ``init``. ``model_save_freq`` and ``gradient_save_freq`` count steps, 0 is
    never; with ``model_save_path`` the model is saved at the end. Raises UsageError without a run.
    """

    def __init__(
        self,
        verbose: int = 0,
        model_save_path: str | None = None,
        model_save_freq: int = 0,
        gradient_save_freq: int = 0,
        log: Literal["gradients", "parameters", "all"] | None = "all",
    ) -> None:
        super().__init__(verbose)
        run_for("WandbCallback")
        if model_save_path is None and model_save_freq:
            raise AssertionError("model_save_freq needs a model_save_path")
        if log not in _WATCHED:
            warn(f"WandbCallback: log must be one of {_WATCHED}, not {log!r}; watching all")
            log = "all"
        self.model_save_path = model_save_path
        self.model_save_freq = model_save_freq
        self.gradient_save_freq = gradient_save_freq
        self.log = log

    def _init_callback(self) -> None:
        known = {"algo": type(self.model).__name__}
        for name, value in vars(self.model).items():
            known[name] = value if type(value) in (float, int, str) else str(value)
        run_for("WandbCallback").config.setdefaults(known)
        if self.gradient_save_freq > 0 and self.log is not None:
            artline.watch(self.model.policy, log=self.log, log_freq=self.gradient_save_freq)

    def _on_step(self) -> bool:
        if self.model_save_freq > 0 and self.n_calls % self.model_save_freq == 0:
            self.save_model()
        return True

    def _on_training_end(self) -> None:
        if self.model_save_path is not None:
            self.save_model()

    def save_model(self) -> None:
        """Save the model to ``<model_save_path>/model.zip`` and keep it with the run."""
        folder: Any = self.model_save_path
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, "model.zip")
        self.model.save(path)
        artline.save(path, base_path=folder)

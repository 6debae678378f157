"""Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import wandb

from maskkit.engine.trackers import project, run_id, scalars
from maskkit.hookspecs import RunInfo, hookimpl


class Tracker:
    """A run of project ``$WANDB_PROJECT``; a run that goes on is the same run there."""

    @hookimpl
    def maskkit_run_started(self, run: RunInfo) -> None:
        self._run = wandb.init(
            project=project("WANDB_PROJECT"),
            name=run.name,
            id=run_id(run),
            resume="allow",
            dir=str(run.output_dir),
            config=dict(run.config),
        )

    @hookimpl
    def maskkit_step_finished(self, step: int, metrics: Mapping[str, Any]) -> None:
        self._run.log(scalars(metrics, "train"), step=step)

    @hookimpl
    def maskkit_evaluated(self, step: int, metrics: Mapping[str, Any]) -> None:
        self._run.log(scalars(metrics, "eval"), step=step)

    @hookimpl
    def maskkit_run_finished(self, status: str) -> None:
        self._run.finish(exit_code=1 if status == "failed" else 0)

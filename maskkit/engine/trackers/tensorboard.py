"""TensorBoard event files in the run folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from maskkit.engine.trackers import scalars
from maskkit.hookspecs import RunInfo, hookimpl


class Tracker:
    """Writes ``output_dir/tensorboard``; a run that goes on hides what it had written beyond its checkpoint."""

    @hookimpl
    def maskkit_run_started(self, run: RunInfo) -> None:
        self._writer = SummaryWriter(str(run.output_dir / "tensorboard"), purge_step=run.step + 1 if run.step else None)
        config = json.dumps(dict(run.config), indent=1, ensure_ascii=False)
        self._writer.add_text("config", f"```json\n{config}\n```", run.step)

    @hookimpl
    def maskkit_step_finished(self, step: int, metrics: Mapping[str, Any]) -> None:
        self._write("train", step, metrics)

    @hookimpl
    def maskkit_evaluated(self, step: int, metrics: Mapping[str, Any]) -> None:
        self._write("eval", step, metrics)
        self._writer.flush()

    @hookimpl
    def maskkit_run_finished(self) -> None:
        self._writer.close()

    def _write(self, prefix: str, step: int, metrics: Mapping[str, Any]) -> None:
        for name, value in scalars(metrics, prefix).items():
            self._writer.add_scalar(name, value, step)

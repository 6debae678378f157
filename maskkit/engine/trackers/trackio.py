"""trackio, a local dashboard of metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import trackio

from maskkit.engine.trackers import project, scalars
from maskkit.hookspecs import RunInfo, hookimpl


class Tracker:
    """A run of project ``$TRACKIO_PROJECT``; ``trackio show`` opens the dashboard."""

    @hookimpl
    def maskkit_run_started(self, run: RunInfo) -> None:
        trackio.init(project=project("TRACKIO_PROJECT"), name=run.name, resume="allow", embed=False, config=dict(run.config))

    @hookimpl
    def maskkit_step_finished(self, step: int, metrics: Mapping[str, Any]) -> None:
        trackio.log(scalars(metrics, "train"), step=step)

    @hookimpl
    def maskkit_evaluated(self, step: int, metrics: Mapping[str, Any]) -> None:
        trackio.log(scalars(metrics, "eval"), step=step)

    @hookimpl
    def maskkit_run_finished(self) -> None:
        trackio.finish()

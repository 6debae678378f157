"""MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mlflow

from maskkit.engine.trackers import flat, project, run_id, scalars
from maskkit.hookspecs import RunInfo, hookimpl


class Tracker:
    """A run of experiment ``$MLFLOW_EXPERIMENT_NAME``; a run that goes on is the same run there."""

    @hookimpl
    def maskkit_run_started(self, run: RunInfo) -> None:
        mlflow.set_experiment(project("MLFLOW_EXPERIMENT_NAME"))
        mark = {"maskkit.run": run_id(run)}
        known = mlflow.search_runs(filter_string=f"tags.`maskkit.run` = '{run_id(run)}'", output_format="list") if run.step else []
        mlflow.start_run(run_id=known[0].info.run_id if known else None, run_name=run.name, tags=mark)
        mlflow.log_params({name: str(value)[:500] for name, value in flat(dict(run.config)).items()})

    @hookimpl
    def maskkit_step_finished(self, step: int, metrics: Mapping[str, Any]) -> None:
        mlflow.log_metrics(scalars(metrics, "train"), step=step)

    @hookimpl
    def maskkit_evaluated(self, step: int, metrics: Mapping[str, Any]) -> None:
        mlflow.log_metrics(scalars(metrics, "eval"), step=step)

    @hookimpl
    def maskkit_run_finished(self, status: str) -> None:
        mlflow.end_run({"end": "FINISHED", "stopped": "KILLED"}.get(status, "FAILED"))

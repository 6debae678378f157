"""Trackers by name: each tells one service or tool what a run does, through the hooks that plugins use too.

Their packages are extras (``pip install 'maskkit[wandb]'``) and are imported when a config chooses them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from maskkit.errors import MissingExtraError, UnknownNameError
from maskkit.hookspecs import RunInfo

TRACKERS = ("tensorboard", "trackio", "wandb", "mlflow")
"""Names that ``training.report_to`` takes."""


def tracker(name: str) -> Any:
    """The plugin object of a tracker. Raises UnknownNameError, or MissingExtraError where its package is not installed."""
    if name not in TRACKERS:
        raise UnknownNameError("tracker", name, TRACKERS)
    try:
        return import_module(f"maskkit.engine.trackers.{name}").Tracker()
    except ImportError as error:
        raise MissingExtraError(error.name or name, name, f"training.report_to {name!r}") from error


def check_trackers(names: Iterable[str]) -> None:
    """Raises what `tracker` raises, for the first of the names that cannot be used."""
    for name in names:
        tracker(name)


def scalars(metrics: Mapping[str, Any], prefix: str) -> dict[str, float]:
    """Numbers by name, ``prefix/loss``, those of kinds of token as ``prefix/loss/answer``."""
    found: dict[str, float] = {}
    for name, value in metrics.items():
        if isinstance(value, dict):
            inner = "loss" if name == "kinds" else name
            found |= {f"{prefix}/{inner}/{key}": float(number) for key, number in value.items() if isinstance(number, (int, float))}
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found[f"{prefix}/{name}"] = float(value)
    return found


def flat(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    """A nested config as one level of dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{above}{name}.") if isinstance(value, dict) and value else {f"{above}{name}": value}
    return found


def run_id(run: RunInfo) -> str:
    """The same for a run and for those that go on with it: 16 hexadecimal digits of the folder and the date on which it began."""
    return hashlib.sha256(f"{run.output_dir.resolve()} {run.record.get('date')}".encode()).hexdigest()[:16]


def project(variable: str) -> str:
    """The project or experiment that runs are gathered in: what the service's environment variable says, else ``maskkit``."""
    return os.environ.get(variable) or "maskkit"

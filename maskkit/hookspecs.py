"""The contract between maskkit and its plugins: every hook there is.

A plugin is a distribution with an entry point in the group ``maskkit`` whose module implements a hook:

    import maskkit

    @maskkit.hookimpl
    def maskkit_strategies():
        return [MyStrategy]

It may declare ``MASKKIT_CONTRACT = 1``, the version of this page that it was written for; absent means 1.

A hook's implementation takes those of its arguments that it wants, by name. `maskkit_strategies` is asked once per process. The others tell
what a training run does, in the process that writes the run folder; they only look. One that raises is named in a warning, is not called
again in that run, and stops nothing.

What stays: within one contract version no hook and no argument of a hook is removed, renamed or given another meaning; new ones may be
added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from maskkit.strategy import LossModifier, Strategy

CONTRACT = 1
"""Version of this page. A plugin that declares another one is not used."""

hookspec = pluggy.HookspecMarker("maskkit")
hookimpl = pluggy.HookimplMarker("maskkit")


@hookspec
def maskkit_strategies() -> list[type[Strategy | LossModifier]]:  # type: ignore[empty-body]
    """Return the classes that the plugin provides: strategies and loss modifiers, in any order."""


@dataclass(frozen=True)
class RunInfo:
    """Which run it is."""

    name: str
    """``training.run_name``, or the name of the run folder."""
    output_dir: Path
    """The run folder."""
    config: Mapping[str, Any]
    """The resolved config, as config.yaml has it."""
    record: Mapping[str, Any]
    """What the run is made of, as run.json has it."""
    step: int = 0
    """Steps that were done before: 0, or those of the checkpoint that it goes on from."""


@hookspec
def maskkit_run_started(run: RunInfo) -> None:
    """Everything is loaded and checked; the first step comes next.

    Args:
        run: which run it is.
    """


@hookspec
def maskkit_step_finished(run: RunInfo, step: int, metrics: Mapping[str, Any]) -> None:
    """An update was made.

    Args:
        run: which run it is.
        step: number of the optimizer step, counted from 1.
        metrics: ``loss`` (weighted, of the global batch, in nats per token), ``grad_norm``, ``learning_rate``, ``tokens``,
            ``trained_tokens``, ``seconds``, ``tokens_per_second``: what metrics.jsonl has of it.
    """


@hookspec
def maskkit_evaluated(run: RunInfo, step: int, metrics: Mapping[str, Any]) -> None:
    """The held-out rows were measured.

    Args:
        run: which run it is.
        step: steps that were done; 0 before the first.
        metrics: ``loss`` (exact weighted mean over all held-out rows), ``kinds`` (mean loss by kind of token), ``tokens`` (how many of
            each), and what else metrics.jsonl has of it.
    """


@hookspec
def maskkit_checkpoint_saved(run: RunInfo, step: int, path: Path) -> None:
    """A checkpoint is whole and in its place.

    Args:
        run: which run it is.
        step: steps that it holds.
        path: its folder.
    """


@hookspec
def maskkit_run_finished(run: RunInfo, status: str, metrics: Mapping[str, Any]) -> None:
    """The run is over, one way or another.

    Args:
        run: which run it is.
        status: ``end``; ``stopped``, when it was asked to and can be resumed; or ``failed``.
        metrics: ``step``, and what metrics.jsonl says last: ``error`` of a run that failed, losses of one that came to its end.
    """

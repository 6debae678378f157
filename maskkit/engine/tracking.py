"""Who is told what a run does: plugins that implement the hooks, and the trackers that a config chooses by name.

metrics.jsonl is written whatever happens here. A tracker only looks: one that raises is named in a warning and is not called again, and the
run goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pluggy

from maskkit import hookspecs, plugins
from maskkit.engine.trackers import tracker
from maskkit.hookspecs import RunInfo

logger = logging.getLogger(__name__)

_HOOK_OF_EVENT = {
    "train": "maskkit_step_finished",
    "eval": "maskkit_evaluated",
    "end": "maskkit_run_finished",
    "stopped": "maskkit_run_finished",
    "failed": "maskkit_run_finished",
}
"""Which hook an event of metrics.jsonl is told by."""


class Tracking:
    """Tells everyone who listens what a run does.

    run: which run it is. report_to: names of trackers (`maskkit.engine.trackers.TRACKERS`). say: told the name of a tracker that failed.

    Raises MissingExtraError for a tracker whose package is not installed.
    """

    def __init__(self, run: RunInfo, report_to: Sequence[str] = (), *, say: Callable[[str], None] = logger.warning) -> None:
        self._run, self._say = run, say
        self._manager = pluggy.PluginManager("maskkit")
        self._manager.add_hookspecs(hookspecs)
        for name, plugin in plugins.registry().manager.list_name_plugin():
            self._manager.register(plugin, name=name)
        for name in report_to:
            self._manager.register(tracker(name), name=name)

    def started(self, step: int = 0) -> None:
        """The run begins behind ``step`` steps."""
        self._run = replace(self._run, step=step)
        self._tell("maskkit_run_started")

    def event(self, event: str, step: int, values: Mapping[str, Any]) -> None:
        """What metrics.jsonl got: told by the hook for it, if there is one."""
        hook = _HOOK_OF_EVENT.get(event)
        if hook == "maskkit_run_finished":
            self._tell(hook, status=event, metrics={"step": step, **values})
        elif hook:
            self._tell(hook, step=step, metrics=values)

    def checkpoint_saved(self, step: int, path: Path) -> None:
        """A checkpoint stands in its place."""
        self._tell("maskkit_checkpoint_saved", step=step, path=path)

    def _tell(self, hook: str, **arguments: Any) -> None:
        everyone = dict(self._manager.list_name_plugin())
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            others = [plugin for plugin in everyone.values() if plugin is not implementation.plugin]
            try:
                self._manager.subset_hook_caller(hook, remove_plugins=others)(run=self._run, **arguments)
            except (Exception, SystemExit) as error:  # whatever a tracker raises, the run goes on
                self._manager.unregister(implementation.plugin)
                reason = " ".join(str(error).split())
                self._say(
                    f"tracker {implementation.plugin_name} failed in {hook} and is not called again: {type(error).__name__}: {reason}"
                )

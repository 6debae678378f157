"""Every error maskkit raises on purpose.

    MaskkitError                     catch this one to catch them all
    ├── ConfigError (ValueError)     a config file, option or argument is wrong
    │   └── UnknownNameError         a name that nothing is registered under
    ├── DataError (ValueError)       a row, file or field of the data is wrong
    ├── TemplateError (ValueError)   a chat template refuses a conversation or renders it differently from transformers
    ├── TokenizerError (ValueError)  a tokenizer cannot do what exact weights need
    ├── StrategyError (ValueError)   a strategy or plugin returned something that is not a weight per token
    ├── PluginError (RuntimeError)   a selected plugin could not be loaded, or clashes with another
    ├── TrainingError (RuntimeError) a run cannot go on: nothing trained, a loss that is not finite
    │   ├── TrainingStopped          a run was asked to stop, and can be resumed
    │   └── OtherRankEnded           another process of the run has ended, and says why
    └── MissingExtraError (ImportError)  an optional dependency is not installed

Each child is also the standard library's exception of the same meaning, so code that knows nothing of maskkit can catch it.
A message is one line: who, where, what was found, what was expected, what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from signal import Signals


class MaskkitError(Exception):
    """Root of all errors raised by maskkit."""


class ConfigError(MaskkitError, ValueError):
    """A config file, an option or an argument is wrong."""


class UnknownNameError(ConfigError):
    """A name that nothing is registered under; the message lists what exists and the nearest match."""

    def __init__(self, what: str, name: str, available: Iterable[str], hint: str = "") -> None:
        super().__init__(f"unknown {what} {name!r}.{suggest(name, available)}{' ' + hint if hint else ''}")


class DataError(MaskkitError, ValueError):
    """A row, a file or a field of the data is wrong; the message names file, row and field."""


class TemplateError(MaskkitError, ValueError):
    """A chat template refuses a conversation, or its attributed rendering is not byte-identical to transformers' own."""


class TokenizerError(MaskkitError, ValueError):
    """A tokenizer cannot give what exact weights need (offsets, a chat template, a stop token)."""


class StrategyError(MaskkitError, ValueError):
    """A strategy returned something that is not one finite weight per token; the message names strategy, record and token."""


class PluginError(MaskkitError, RuntimeError):
    """A plugin that was selected could not be loaded, or its name clashes with another's."""


class TrainingError(MaskkitError, RuntimeError):
    """A training run cannot go on: nothing in the global batch is trained, or the loss is not finite."""


class TrainingStopped(TrainingError):
    """A run was asked to stop by SIGINT or SIGTERM; it finished its step and saved a checkpoint.

    signal: which. step: steps that are done. checkpoint: its folder. config: that of the run. processes: how many did it.
    """

    def __init__(self, signal: Signals, step: int, checkpoint: Path, config: Path, processes: int = 1) -> None:
        self.signal, self.step, self.checkpoint = signal, step, checkpoint
        maskkit = "maskkit" if processes == 1 else f"torchrun --nproc-per-node {processes} -m maskkit"
        go_on = f"{maskkit} train {config} --resume"
        super().__init__(f"stopped by {signal.name} after step {step}, saved in {checkpoint}; go on with  {go_on}")


class OtherRankEnded(TrainingError):
    """Another process of a run of several has ended, so this one does too.

    error: what the other one raised. It says so itself: here there is nothing to add.
    """

    def __init__(self, error: BaseException) -> None:
        self.error = error
        super().__init__(f"another rank ended: {error}")


class MissingExtraError(MaskkitError, ImportError):
    """An optional dependency is missing; the message names the extra to install."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package {package!r}: install it with  pip install 'maskkit[{extra}]'")


def suggest(name: str, available: Iterable[str]) -> str:
    """``" Did you mean 'x'? Available: x, y."``: the tail of an error about an unknown name."""
    known = sorted(available)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    listing = f" Available: {', '.join(known)}." if known else " Nothing is available."
    return (f" Did you mean {near[0]!r}?" if near else "") + listing

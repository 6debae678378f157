"""maskkit: decide, see and prove how much the loss of every token counts, and train with it.

    masker = maskkit.Masker(tokenizer, strategy="assistant-only")
    example = masker({"messages": [...]})           # input_ids, loss_weights, tokens, warnings
    batch = maskkit.DataCollator(tokenizer)([example])
    loss = maskkit.weighted_cross_entropy(logits, batch["labels"], batch["loss_weights"])

Names are loaded when first used, so that ``import maskkit`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOMES = {
    "ConfigError": "maskkit.errors",
    "DataCollator": "maskkit.batching",
    "DataError": "maskkit.errors",
    "Example": "maskkit.masker",
    "LossModifier": "maskkit.strategy",
    "Masker": "maskkit.masker",
    "MaskkitError": "maskkit.errors",
    "MissingExtraError": "maskkit.errors",
    "PluginError": "maskkit.errors",
    "RunConfig": "maskkit.config",
    "SegmentKind": "maskkit.kinds",
    "Strategy": "maskkit.strategy",
    "StrategyError": "maskkit.errors",
    "StrategyOptions": "maskkit.strategy",
    "TemplateError": "maskkit.errors",
    "TokenScores": "maskkit.strategy",
    "TokenizerError": "maskkit.errors",
    "Tokens": "maskkit.tokens",
    "TrainingError": "maskkit.errors",
    "UnknownNameError": "maskkit.errors",
    "explain": "maskkit.inspect.explain",
    "hookimpl": "maskkit.hookspecs",
    "linear_weighted_cross_entropy": "maskkit.loss",
    "lint": "maskkit.inspect.lint",
    "load_strategy": "maskkit.plugins",
    "preview": "maskkit.inspect.preview",
    "strategies": "maskkit.plugins",
    "train": "maskkit.engine",
    "weighted_cross_entropy": "maskkit.loss",
}

__all__ = [*sorted(_HOMES), "__version__"]

if TYPE_CHECKING:
    from maskkit.batching import DataCollator as DataCollator
    from maskkit.config import RunConfig as RunConfig
    from maskkit.engine import train as train
    from maskkit.errors import ConfigError as ConfigError
    from maskkit.errors import DataError as DataError
    from maskkit.errors import MaskkitError as MaskkitError
    from maskkit.errors import MissingExtraError as MissingExtraError
    from maskkit.errors import PluginError as PluginError
    from maskkit.errors import StrategyError as StrategyError
    from maskkit.errors import TemplateError as TemplateError
    from maskkit.errors import TokenizerError as TokenizerError
    from maskkit.errors import TrainingError as TrainingError
    from maskkit.errors import UnknownNameError as UnknownNameError
    from maskkit.hookspecs import hookimpl as hookimpl
    from maskkit.inspect.explain import explain as explain
    from maskkit.inspect.lint import lint as lint
    from maskkit.inspect.preview import preview as preview
    from maskkit.kinds import SegmentKind as SegmentKind
    from maskkit.loss import linear_weighted_cross_entropy as linear_weighted_cross_entropy
    from maskkit.loss import weighted_cross_entropy as weighted_cross_entropy
    from maskkit.masker import Example as Example
    from maskkit.masker import Masker as Masker
    from maskkit.plugins import load_strategy as load_strategy
    from maskkit.plugins import strategies as strategies
    from maskkit.strategy import LossModifier as LossModifier
    from maskkit.strategy import Strategy as Strategy
    from maskkit.strategy import StrategyOptions as StrategyOptions
    from maskkit.strategy import TokenScores as TokenScores
    from maskkit.tokens import Tokens as Tokens


def __getattr__(name: str) -> object:
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'maskkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})

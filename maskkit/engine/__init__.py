"""The training engine: plain PyTorch, one loop told top to bottom in `maskkit.engine.loop`."""

from __future__ import annotations

from maskkit.engine.answers import Answer
from maskkit.engine.evaluate import Evaluation
from maskkit.engine.result import TrainResult
from maskkit.engine.training import train

__all__ = ["Answer", "Evaluation", "TrainResult", "train"]

"""What another model thinks of each token: its log-probabilities, computed once and stored beside the ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from maskkit.batching import DataCollator
from maskkit.engine.predict import Predictor
from maskkit.errors import ConfigError
from maskkit.loss import entries_of
from maskkit.masker import Example
from maskkit.models import load_model

ROWS_AT_ONCE = 8


class Reference:
    """A causal language model that is only asked. bf16: compute in bfloat16.

    Raises ConfigError where its vocabulary cannot be that of the tokenizer.
    """

    def __init__(self, model: str, tokenizer: Any, *, bf16: bool = False, trust_remote_code: bool = False) -> None:
        loaded: Any = load_model(model, dtype=torch.float32, trust_remote_code=trust_remote_code)
        rows = loaded.get_input_embeddings().weight.shape[0]
        if rows < len(tokenizer):
            raise ConfigError(f"reference {model!r} knows {rows} ids and the tokenizer has {len(tokenizer)}: they do not belong together")
        self._predict = Predictor(loaded.to("cuda" if torch.cuda.is_available() else "cpu"), bf16=bf16)
        self._collate = DataCollator(tokenizer)

    def __call__(self, examples: Sequence[Example]) -> list[npt.NDArray[np.float32]]:
        """For each example float32 [T]: the log-probability of each token given those before it, in nats; 0 for the first."""
        found: list[npt.NDArray[np.float32]] = []
        for start in range(0, len(examples), ROWS_AT_ONCE):
            found += self._of_batch(examples[start : start + ROWS_AT_ONCE])
        return found

    def _of_batch(self, examples: Sequence[Example]) -> list[npt.NDArray[np.float32]]:
        tensors = {name: column.to(self._predict.device) for name, column in self._collate(examples).items()}
        everything = (tensors["document_ids"] >= 0).to(torch.float32)
        entries = entries_of(tensors["input_ids"], everything, tensors["document_ids"])
        columns = torch.zeros(tensors["input_ids"].shape, dtype=torch.float32, device=self._predict.device)
        with self._predict.evaluating():
            columns.view(-1)[entries.predicted] = self._predict(tensors, entries).float()
        return [column[: len(example)].cpu().numpy() for column, example in zip(columns, examples, strict=True)]

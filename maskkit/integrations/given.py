"""Of what an evaluation has gathered, the rows that were given: not those that only filled up (`maskkit.integrations.rows`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import EvalPrediction

from maskkit.integrations.rows import FILLERS

Metrics = Callable[..., dict[str, Any]]
Bools = npt.NDArray[np.bool_]


class GivenRows:
    """Which rows of the batches of an evaluation, gathered over ranks, were given. apart: arrays stay a list of batches."""

    def __init__(self, apart: bool = False) -> None:
        self._batches: list[Bools] = []
        self._apart = apart

    def add(self, batch: Mapping[str, Any], gather: Callable[[Tensor], Tensor]) -> None:
        """Note the rows of a batch. gather: over all ranks, which all have to ask."""
        self._batches.append(torch.as_tensor(gather(_given(batch))).cpu().numpy())

    def metrics(self, function: Metrics | None, batch_by_batch: bool = False) -> Metrics | None:
        """``function``, called with given rows alone. batch_by_batch: it is called after each batch, whose rows it gets."""
        if function is None:
            return None

        def of_given_rows(seen: Any, **told: Any) -> dict[str, Any]:
            def kept(arrays: Any) -> Any:
                return _rows(arrays, self._batches[-1]) if batch_by_batch and self._batches else self.kept(arrays)

            # batch by batch, the inputs are the batch of this rank, not gathered
            own = isinstance(seen.inputs, Mapping) and batch_by_batch
            inputs: Any = _own_rows(seen.inputs) if own else kept(seen.inputs)
            return function(EvalPrediction(kept(seen.predictions), kept(seen.label_ids), inputs, kept(seen.losses)), **told)

        return of_given_rows

    def kept(self, arrays: Any) -> Any:
        """The given rows of what all batches gave: an array, or arrays in tuples, lists and dictionaries; None as it is."""
        if self._apart and isinstance(arrays, list):
            return [_rows(array, given) for array, given in zip(arrays, self._batches, strict=True)] if self._batches else arrays
        return _rows(arrays, np.concatenate(self._batches)) if self._batches else arrays


def _given(batch: Mapping[str, Any]) -> Tensor:
    fillers, labels = batch.get(FILLERS), batch["labels"]
    return ~fillers if fillers is not None else torch.ones(len(labels), dtype=torch.bool, device=labels.device)


def _own_rows(batch: Mapping[str, Any]) -> dict[str, Any]:
    given = _given(batch).cpu().numpy()
    return {name: _rows(column, given) for name, column in batch.items() if name != FILLERS}


def _rows(arrays: Any, given: Bools) -> Any:
    """The given rows; what does not have one entry for each row stays as it is."""
    if isinstance(arrays, (tuple, list)):
        return type(arrays)(_rows(array, given) for array in arrays)
    if isinstance(arrays, Mapping):
        return {name: _rows(array, given) for name, array in arrays.items()}
    if given.all() or not np.ndim(arrays) or len(arrays) != len(given):
        return arrays
    return arrays[torch.from_numpy(given).to(arrays.device)] if isinstance(arrays, Tensor) else arrays[given]

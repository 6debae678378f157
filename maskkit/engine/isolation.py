"""Can this model keep packed documents apart? Asked of the model itself, since what a family is called says little about its code.

A pack is isolated if no document sees another: the first one is exchanged, and no logit of the others may move. Each also has to be read as
it would be read alone, at positions counted from its own beginning.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maskkit.batching import DataCollator, model_inputs
from maskkit.errors import ConfigError

LENGTHS = (7, 11, 5, 9)
"""Tokens of the documents of the probe; they are two packs, the second one shorter, so that it is padded."""

CURE = "set training.packing to false; training.group_by_length saves padding without packing"


def reads_one_row(model: Any) -> bool:
    """Whether the model looks for packed documents only in a batch of a single row, as flash attention does."""
    return "flash" in str(getattr(model.config, "_attn_implementation", None))


def check_isolation(model: Any, collator: DataCollator, name: str, *, autocast: bool = False) -> None:
    """Raises ConfigError, naming the model and what to do, unless packed documents are as apart as if each were alone.

    collator: the run's own. name: what the config calls the model. autocast: under bfloat16, which flash attention needs; otherwise the
    probe runs in the parameters' own precision, where less is lost in rounding. No parameter, gradient or random generator is touched.
    """
    what = f"model {name!r} ({type(model).__name__})"
    device = next(model.parameters()).device
    vocabulary = model.get_input_embeddings().num_embeddings
    documents, others = (_documents(vocabulary, start) for start in (0, 1))
    exchanged = [others[0], *documents[1:]]
    with _undisturbed(model), torch.autocast(device.type, dtype=torch.bfloat16, enabled=autocast):
        try:
            packed, moved = (_logits(model, collator, rows) for rows in (documents, exchanged))
        except TypeError as error:  # a forward without position_ids
            raise ConfigError(f"{what} cannot be called with packed rows ({error}): {CURE}") from error
        alone = [model(input_ids=torch.tensor([ids], device=device), use_cache=False).logits[0].double() for ids in documents]
    precision = torch.finfo(torch.bfloat16 if autocast else next(model.parameters()).dtype).eps
    size = max(float(logits.abs().max()) for logits in alone)
    seen = max(_difference(a, b) for a, b in zip(packed[1:], moved[1:], strict=True))
    if seen > 16 * precision * size:
        raise ConfigError(
            f"{what} lets packed documents see each other: another first document moves the logits of those behind it by {seen:.1e} "
            f"(the largest logit is {size:.1e}); {CURE}"
        )
    shifted = max(_difference(a, b) for a, b in zip(packed, alone, strict=True))
    if shifted > precision**0.5 * size:
        raise ConfigError(
            f"{what} reads a packed document differently than one that is alone: logits differ by {shifted:.1e} "
            f"(the largest is {size:.1e}); {CURE}"
        )


def _documents(vocabulary: int, start: int) -> list[list[int]]:
    """Ids spread over the vocabulary, other ones for another start."""
    ids = ((np.arange(sum(LENGTHS)) * 7919 + start * 104_729 + 11) % vocabulary).tolist()
    ends = np.cumsum(LENGTHS).tolist()
    return [ids[end - length : end] for end, length in zip(ends, LENGTHS, strict=True)]


def _logits(model: Any, collator: DataCollator, documents: list[list[int]]) -> list[Tensor]:
    """float64 [T, V] of each document."""
    rows = [{"input_ids": ids, "loss_weights": [1.0] * len(ids)} for ids in documents]
    packs = [rows] if reads_one_row(model) else [rows[:3], rows[3:]]
    device = next(model.parameters()).device
    batch = {column: values.to(device) for column, values in collator(packs).items()}
    logits = model(**model_inputs(batch)).logits
    return [logits[batch["document_ids"] == number].double() for number in range(len(rows))]


def _difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


@contextlib.contextmanager
def _undisturbed(model: Any) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng():
            yield
    finally:
        model.train(training)

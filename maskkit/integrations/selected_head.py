"""Score chosen positions inside a model's own forward pass, so that tokens without weight never reach the head.

A loss that called backbone and head by itself would pass by what a trainer wraps around the model: gradient synchronisation of DDP,
gathering of FSDP and DeepSpeed, autocast, compilation. So the model's forward learns one more way to be called, and to the wrappers around
it this is an ordinary call.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from maskkit.errors import ConfigError
from maskkit.loss import Head, LossEntries, Predicted, Projection, head_of, predicted, predicted_from_logits
from maskkit.loss.head import unwrapped

_BEFORE = "_forward_before_maskkit"
_SCORING = "_maskkit_scoring"


class Scoring(NamedTuple):
    """What a taught model knows of its head."""

    scale: float
    """What the logits are multiplied by."""
    softcap: float | None
    """What they lie between minus and plus of."""
    chunk: int | None
    """How many positions have logits at one time; None: as many as memory allows."""
    needs: frozenset[str]
    """Statistics to give beside the log-probabilities."""


def score_selected_positions(model: Any, chunk: int | None = None, needs: frozenset[str] = frozenset()) -> Head:
    """Teach ``model`` to be called as ``model(..., **selection(entries, width))``, if it is known what its head computes.

    Such a call returns what `found_in` reads: log-probabilities, and the statistics ``needs`` of `maskkit.loss.predicted`; any other is as
    before. ``chunk`` positions have logits at one time. To be called before the model is compiled, and on every rank if it is sharded
    already; another call only sets ``chunk`` and ``needs``.

    Returns what `head_of` found: where the head is not plain, the model is left as it was. Raises ConfigError for anything but a causal
    language model of transformers.
    """
    inner = unwrapped(model)
    if not callable(getattr(inner, "get_output_embeddings", None)):
        raise ConfigError(f"{type(inner).__name__} has no get_output_embeddings(): expected a causal language model of transformers")
    if any(hasattr(parameter, "ds_id") for parameter in inner.parameters()):
        return Head(None, None, "sharded-parameters")  # DeepSpeed has taken them apart already: nothing can be tried out
    head = head_of(inner)
    if head.plain:
        setattr(inner, _SCORING, Scoring(head.scale, head.softcap, chunk, needs))
        if not hasattr(inner, _BEFORE):
            setattr(inner, _BEFORE, inner.forward)
            inner.forward = types.MethodType(_with_selection(type(inner).forward), inner)
        if "forward" not in vars(head.linear):
            cast(Any, head.linear).forward = types.MethodType(_forward_of_head, head.linear)
    return head


def selection(entries: LossEntries, width: int) -> dict[str, Tensor]:
    """Arguments that ask for the log-probabilities of ``entries`` of a batch whose rows are ``width`` long.

    Columns are counted from the end: prompt tuning puts virtual tokens in front of a row.
    """
    return {"loss_row": entries.source // width, "loss_column": entries.source % width - width, "loss_target": entries.target}


def found_in(output: Any) -> Predicted:
    """What a call with `selection` returned. Raises ConfigError if the model did not know that way to be called."""
    if not isinstance(output, Mapping) or "selected_log_prob" not in output:
        raise ConfigError(
            "something has replaced the model's forward since its loss was made (Liger's fused loss does): turn that off, or make the loss "
            "afterwards"
        )
    columns: dict[str, Tensor] = {name: output[f"selected_{name}"] for name in Predicted._fields if f"selected_{name}" in output}
    return Predicted(**{name: restored(value) for name, value in columns.items()})


def unrounded(value: Tensor) -> Tensor:
    """``value`` in a form that no wrapper around the model rounds; `restored` takes it back.

    The mixed precision of FSDP2 casts what a module returns (``output_dtype``, which accelerate sets), and the gradient that comes back:
    that is every token's weight. It leaves complex numbers alone.
    """
    return torch.complex(value, torch.zeros_like(value))


def restored(value: Tensor) -> Tensor:
    """What `unrounded` was made of; anything else as it is."""
    return value.real if value.is_complex() else value


def _with_selection(original: Any) -> Any:
    """The new forward. It holds on to nothing, so that a deep copy of the model is a model of its own; its signature is the old one, by
    which generation and trainers judge what the model takes."""

    @functools.wraps(original)
    def forward(
        self: Any,
        *args: Any,
        loss_row: Tensor | None = None,
        loss_column: Tensor | None = None,
        loss_target: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        if loss_row is None or loss_column is None or loss_target is None:
            return getattr(self, _BEFORE)(*args, **kwargs)
        hidden = self.base_model(*args, **kwargs).last_hidden_state[loss_row, loss_column]
        found = _score(self.get_output_embeddings(), hidden, loss_target, getattr(self, _SCORING))
        # a mapping, in which wrappers find the tensors; the name is one that no model output has
        return {f"selected_{name}": value for name, value in found.items()}

    return forward


@functools.wraps(nn.Linear.forward)
def _forward_of_head(self: Any, input: Tensor, loss_target: Tensor | None = None, scoring: Scoring | None = None) -> Any:
    """The new forward of a plain head. Asked for ``loss_target`` [N] it returns what is predicted for states [N, H], by name."""
    if loss_target is None or scoring is None:
        return nn.functional.linear(input, self.weight, self.bias)
    if type(self.weight) in (nn.Parameter, Tensor):
        projection = Projection(self.weight, self.bias, scoring.scale, scoring.softcap)
        found = predicted(input, projection, loss_target, needs=scoring.needs, chunk=scoring.chunk)
    else:  # quantized
        found = _from_logits(nn.functional.linear(input, self.weight, self.bias), loss_target, scoring)
    return _by_name(found, input)


def _score(head: Any, hidden: Tensor, target: Tensor, scoring: Scoring) -> dict[str, Tensor]:
    """What is predicted for ``target`` [N] from hidden states [N, H], by name.

    A head that something else has its hands on, such as FSDP or DeepSpeed, is called as a module, so that its hooks run.
    """
    if getattr(vars(head).get("forward"), "__func__", None) is not _forward_of_head:
        return _by_name(_from_logits(head(hidden), target, scoring), hidden)
    called = head if head._forward_pre_hooks else head.forward
    found: dict[str, Tensor] = called(hidden, loss_target=target, scoring=scoring)
    return found


def _from_logits(logits: Tensor, target: Tensor, scoring: Scoring) -> Predicted:
    """The same from what the head itself makes of the states [N, V]."""
    logits = logits * scoring.scale
    if scoring.softcap is not None:
        logits = scoring.softcap * (logits / scoring.softcap).tanh()
    return predicted_from_logits(logits, target, scoring.needs)


def _by_name(found: Predicted, states: Tensor) -> dict[str, Tensor]:
    """The columns that there are; those finer than the hidden states in a form that keeps them so."""
    columns = {name: value for name, value in found._asdict().items() if value is not None}
    finer = {name: value.is_floating_point() and states.dtype.itemsize == 2 < value.dtype.itemsize for name, value in columns.items()}
    return {name: unrounded(value) if finer[name] else value for name, value in columns.items()}

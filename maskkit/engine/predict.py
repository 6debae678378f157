"""Predict every position: the log-probability that the model gives to each token, given the tokens before it.

The text itself is the input at every position (teacher forcing): the model never sees its own output here.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from maskkit.batching import model_inputs
from maskkit.errors import ConfigError
from maskkit.loss import Head, LossEntries, Predicted, check_backend, head_of, predicted, predicted_from_logits

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """What the model is asked for. Not a mapping or tuple: what shards a model casts the tensors that it finds in those."""

    entries: LossEntries
    """Of which tokens, N of them."""
    needs: frozenset[str] = frozenset()
    """Statistics beside the log-probabilities (`maskkit.loss.predicted`)."""
    coefficients: Tensor | None = None
    """float64 [N]: what the log-probabilities will be multiplied by, if that is known; it saves a product with the head's matrix."""


class Predictor:
    """A causal language model, asked for the log-probabilities of chosen tokens.

    Where the logits are known from a hidden state (`maskkit.loss.head_of`), only chosen tokens reach the head; else full logits are made,
    and the log says why. bf16: run under bfloat16 autocast; parameters and gradients keep their own dtype. backend: a name of
    `maskkit.loss.BACKENDS`. chunk: how many tokens have logits at one time, unless that is left to the backend.

    Raises ConfigError where the backend cannot do what the model's head needs.
    """

    def __init__(self, model: Any, *, bf16: bool = False, backend: str = "auto", chunk: int | None = None) -> None:
        self.model = model
        self.head: Head = head_of(model)
        check_backend(backend, softcap=self.head.softcap)
        self.backend = backend
        self._bf16, self._chunk = bf16, chunk
        self.device: torch.device = next(model.parameters()).device
        self.forward: Callable[[dict[str, Tensor], Request], Predicted] = self._predicted
        """What computes; a model spread over ranks (`maskkit.engine.sharding`) has its parameters gathered before."""
        if not self.head.plain:
            logger.info("%s: full logits are computed for every token (%s)", type(model).__name__, self.head.reason)

    def __call__(self, tensors: dict[str, Tensor], entries: LossEntries) -> Tensor:
        """Log-probabilities [N] of the entries' targets, with gradients, whole before any backward pass.

        tensors: of B packs [B, T], as the collator makes them.
        """
        return self.forward(tensors, Request(entries)).log_prob

    def scores(self, tensors: dict[str, Tensor], request: Request) -> Predicted:
        """The same, with the statistics asked for; if ``request`` has coefficients, for one backward pass through their weighted sum."""
        return self.forward(tensors, request)

    def _predicted(self, tensors: dict[str, Tensor], request: Request) -> Predicted:
        inputs, entries = model_inputs(tensors), request.entries
        with self._precision():
            if not self.head.plain or self.backend == "full-logits":
                return predicted_from_logits(self._logits(inputs)[entries.source], entries.target, request.needs)
            hidden = self.head.backbone(**inputs).last_hidden_state.flatten(0, 1)[entries.source]
            return predicted(
                hidden,
                self.head.projection,
                entries.target,
                # the one that gives no statistics need not, where no gradient depends on it
                backend="auto" if self.backend == "torch" and not torch.is_grad_enabled() else self.backend,
                needs=request.needs,
                coefficients=request.coefficients,
                chunk=self._chunk,
            )

    def _logits(self, inputs: dict[str, Any]) -> Tensor:
        """Of every position, [B * T, V]."""
        logits: Tensor = self.model(**inputs).logits
        if logits.shape[:2] != inputs["input_ids"].shape:
            raise ConfigError(
                f"{type(self.model).__name__} returned logits of shape {list(logits.shape)} for input_ids of shape "
                f"{list(inputs['input_ids'].shape)}, expected one row per token: adapters that put tokens of their own in front do not work"
            )
        return logits.flatten(0, 1)

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Without gradients and dropout; training goes on afterwards as if nothing had been measured."""
        training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.model.train(training)

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        return torch.autocast(self.device.type, dtype=torch.bfloat16) if self._bf16 else contextlib.nullcontext()

"""What a model expects in place of a token."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from maskkit.tokens import Tokens

ALTERNATIVES = 5
"""So many of the likeliest tokens are told."""


@dataclass(frozen=True, slots=True)
class Guess:
    """A token that the model could write here, and how likely it finds it."""

    id: int
    text: str
    probability: float


@dataclass(frozen=True, slots=True)
class Score:
    """The model's prediction of one token, given all tokens before it."""

    probability: float
    """Of the true token."""
    loss: float
    """``-ln p`` of the true token, in nats."""
    rank: int
    """1 if the true token is the likeliest."""
    entropy: float
    """``-sum(p ln p)`` over the vocabulary, in nats: 0 where the model is certain."""
    guesses: tuple[Guess, ...]
    """The likeliest tokens, most likely first."""


def score(model: Any, tokenizer: Any, tokens: Tokens, t: int) -> Score:
    """How the model predicts token t, from the position before it. t: 1 or more.

    model: a transformers causal language model; its mode and random state are left as they were.
    """
    import torch

    log_probs = _log_probs(model, torch.tensor(tokens.ids[:t])[None])
    probs = log_probs.exp()
    true = int(tokens.ids[t])
    likeliest = torch.topk(probs, min(ALTERNATIVES, len(probs)))
    guesses = [
        Guess(token_id, str(tokenizer.decode([token_id])), probability)
        for probability, token_id in zip(likeliest.values.tolist(), likeliest.indices.tolist(), strict=True)
    ]
    return Score(
        float(probs[true]),
        -float(log_probs[true]),
        1 + int((log_probs > log_probs[true]).sum()),
        -float(torch.special.xlogy(probs, probs).sum()),
        tuple(guesses),
    )


def _log_probs(model: Any, before: Tensor) -> Tensor:
    """Log-probabilities float64 [V] of what follows the ids ``before`` [1, T]; only the last position reaches a plain head."""
    import torch

    from maskkit.loss import head_of

    head = head_of(model)
    before = before.to(next(model.parameters()).device)
    inputs = {"input_ids": before, "attention_mask": torch.ones_like(before), "use_cache": False}
    with _evaluating(model), torch.no_grad():
        hidden = head.backbone(**inputs).last_hidden_state[0, -1] if head.linear is not None else None
        logits = model(**inputs).logits[0, -1] if head.linear is None else head.linear(hidden)
    return torch.log_softmax(logits.double().cpu(), -1)


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Without dropout; its mode afterwards is what it was."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)

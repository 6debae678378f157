"""Ways to compute the log-probabilities of target tokens from hidden states, by name. All give the same values and gradients.

auto         single-pass where the weights are known before the model is asked, else recompute
recompute    logits exist for a chunk of tokens at a time, and once more in the backward pass
single-pass  gradients are made while the logits are there: one product with the head's matrix less
torch        torch.nn.functional.linear_cross_entropy, in chunks: the least memory; per-token losses in the dtype of the model
full-logits  logits of all tokens at once, of the whole batch: the reference, with the largest memory
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from maskkit.errors import ConfigError, UnknownNameError
from maskkit.loss.predicted import Predicted, Statistics
from maskkit.loss.projection import Projection
from maskkit.loss.single_pass import single_pass
from maskkit.loss.token_log_probs import chunk_size, compute_dtype, recomputed

BACKENDS: tuple[str, ...] = ("auto", "recompute", "single-pass", "torch", "full-logits")
"""Names of all ways."""


def check_backend(backend: str, *, needs: Iterable[str] = (), reweighted: bool = False, softcap: float | None = None) -> None:
    """Refuse a way that cannot do what is asked.

    needs: statistics beside the log-probabilities. reweighted: weights are known only after the log-probabilities. softcap: of the logits.
    Raises UnknownNameError for a name not in `BACKENDS`, else ConfigError.
    """
    if backend not in BACKENDS:
        raise UnknownNameError("loss backend", backend, BACKENDS)
    if backend == "single-pass" and reweighted:
        raise ConfigError(
            "loss.backend 'single-pass' makes gradients before the weights are known that loss modifiers give; use 'auto' or 'recompute'"
        )
    if backend != "torch":
        return
    if not hasattr(F, "linear_cross_entropy") or not hasattr(torch.nn, "LinearCrossEntropyOptions"):
        raise ConfigError(f"loss.backend 'torch' needs torch 2.13 or newer, this is {torch.__version__}; use 'auto'")
    asked = sorted(needs)
    if asked:
        raise ConfigError(f"loss.backend 'torch' gives no {asked[0]}, which a loss modifier needs; use 'auto' or 'recompute'")
    if softcap is not None:
        raise ConfigError(f"loss.backend 'torch' cannot cap logits, which this model does (at {softcap:g}); use 'auto' or 'recompute'")


def predicted(
    hidden: Tensor,
    projection: Projection,
    targets: Tensor,
    *,
    backend: str = "auto",
    needs: Iterable[str] = (),
    coefficients: Tensor | None = None,
    chunk: int | None = None,
) -> Predicted:
    """Log-probabilities [N] of ``targets`` with gradients, and the statistics ``needs`` of `maskkit.loss.predicted`.

    hidden [N, H]: of the predicting positions; targets [N]: int64. backend: a name of `BACKENDS`. coefficients [N]: what the
    log-probabilities will be multiplied by, if that is known (see `maskkit.loss.single_pass`). chunk: how many tokens have logits at once.
    Raises what `check_backend` does.
    """
    needs = tuple(needs)
    check_backend(backend, needs=needs, softcap=projection.softcap)
    if backend == "torch":
        return _by_torch(hidden, projection, targets, chunk)
    if backend == "full-logits":
        return predicted_from_logits(projection.logits(hidden), targets, needs)
    if coefficients is not None and not needs and backend != "recompute" and torch.is_grad_enabled():
        return single_pass(hidden, projection, targets, coefficients, chunk=chunk)
    return recomputed(hidden, projection, targets, needs=needs, chunk=chunk)


def predicted_from_logits(logits: Tensor, targets: Tensor, needs: Iterable[str] = ()) -> Predicted:
    """The same from logits [N, V], in float32 or better."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    log_prob = -F.cross_entropy(logits, targets, reduction="none")
    with torch.no_grad():
        statistics = Statistics(log_prob, needs)
        statistics.add(slice(None), logits, logits.logsumexp(-1), targets)
    return Predicted(log_prob, *statistics.columns())


def _by_torch(hidden: Tensor, projection: Projection, targets: Tensor, chunk: int | None) -> Predicted:
    compute = compute_dtype(hidden, projection)
    bias = None if projection.bias is None else (projection.bias * projection.scale).to(compute)
    states = hidden.to(compute) * projection.scale
    if not len(targets):  # it refuses to do nothing
        return recomputed(hidden, projection, targets)
    options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=min(chunk_size(chunk, projection), len(targets)))
    with torch.autocast(hidden.device.type, enabled=False):
        loss = F.linear_cross_entropy(states, projection.weight.to(compute), targets, linear_bias=bias, reduction="none", options=options)
    return Predicted(-loss.to(torch.promote_types(compute, torch.float32)))

"""How does a model come from its last hidden states to logits?

If by a linear map, scaled and capped perhaps, only the tokens that count need to reach it. Some families scale their logits (Granite,
Cohere) or cap them (Gemma 2), which their configs say; a new family may do anything. So nothing is believed: `head_of` compares the model's
own logits with what it would compute, on a few tokens, and takes the short way only if they agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from maskkit.loss.projection import Projection

_SOFTCAPS = ("final_logit_softcapping",)
_FACTORS = ("logit_scale", "lm_head_multiplier")
_DIVISORS = ("logits_scaling",)


@dataclass(frozen=True, slots=True)
class Head:
    """A model's language-model head, as far as a loss needs to know it."""

    backbone: Any
    """The module whose ``last_hidden_state`` the head reads, or None where the head is not plain."""
    linear: nn.Linear | None
    """The head itself, tied or not, with or without bias; None where it is not plain."""
    reason: str = ""
    """Why full logits are needed, as a word: ``no-backbone``, ``no-linear-head``, ``softcapped-logits``, ``scaled-logits`` (in a way that
    the config does not say), ``other-logits``; empty where the head is plain."""
    scale: float = 1.0
    """What the logits are multiplied by."""
    softcap: float | None = None
    """Logits come to lie between minus and plus this."""

    @property
    def plain(self) -> bool:
        """True if the logits of a token are known from its hidden state and `projection` alone."""
        return self.linear is not None

    @property
    def projection(self) -> Projection:
        """The head's parameters as they are now. Only where the head is plain."""
        assert self.linear is not None
        return Projection(self.linear.weight, self.linear.bias, self.scale, self.softcap)


@torch.no_grad()
def head_of(model: Any) -> Head:
    """Find a causal language model's head and prove on a few tokens what it computes, or say why that is not known.

    model: a transformers causal language model, also with adapters of peft, under a wrapper such as DDP or sharded by FSDP2 (then every
    rank has to ask). Its mode (train or eval), its random state and the spread of its parameters are left as they were.
    """
    inner = unwrapped(model)
    backbone = getattr(inner, "base_model", None)
    linear = inner.get_output_embeddings()
    if backbone is None or backbone is inner:
        return Head(None, None, "no-backbone")
    if not isinstance(linear, nn.Linear) or type(linear).forward is not nn.Linear.forward:  # FSDP2 makes a subclass of it
        return Head(None, None, "no-linear-head")
    hidden, logits = _probe(model, inner, backbone, linear)
    if hidden is None or hidden.shape[-1] != linear.in_features:
        return Head(None, None, "no-backbone")
    weight, bias = _whole(linear.weight, hidden.dtype), _whole(linear.bias, hidden.dtype)
    config = inner.config.get_text_config() if hasattr(inner.config, "get_text_config") else inner.config
    for scale, softcap in _candidates(config):
        if _agree(Projection(weight, bias, scale, softcap).logits(hidden), logits):
            return Head(backbone, linear, "", scale, softcap)
    return Head(None, None, _reason(config))


def spread(model: Any) -> None:
    """Spread the parameters of an FSDP2 model over the ranks again, after a forward pass that no backward pass follows.

    Until then the parameters of some modules are others than those that have gradients: an optimizer made of them would update nothing.
    """
    for module in fsdp_modules(model):
        module.reshard()


def fsdp_modules(model: Any) -> list[Any]:
    """The modules that FSDP2 has sharded; empty for others' models. Told by their method, since importing their class takes seconds."""
    return [module for module in model.modules() if callable(getattr(module, "reshard", None))]


def _whole(tensor: Any, dtype: torch.dtype) -> Any:
    """A parameter as the forward pass uses it: gathered from the ranks, in the dtype of the states. None as it is."""
    return None if tensor is None else (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).to(dtype)


def unwrapped(model: Any) -> Any:
    """The transformers model inside wrappers: of peft, of torch.compile, of DDP."""
    while True:
        if hasattr(model, "get_base_model"):  # peft; its other attributes are those of the model inside
            model = model.get_base_model()
        elif isinstance(getattr(model, "_orig_mod", None), nn.Module):
            model = model._orig_mod
        elif isinstance(getattr(model, "module", None), nn.Module):
            model = model.module
        else:
            return model


def _candidates(config: Any) -> Iterator[tuple[float, float | None]]:
    """(scale, cap) as the config may mean them, the plain one last: small logits in bfloat16 hardly show whether they are capped."""
    scales = [*_numbers(config, _FACTORS), *(1.0 / number for number in _numbers(config, _DIVISORS)), 1.0]
    for softcap in (*_numbers(config, _SOFTCAPS), None):
        yield from ((scale, softcap) for scale in dict.fromkeys(scales))


def _numbers(config: Any, names: tuple[str, ...]) -> list[float]:
    return [float(value) for name in names if (value := getattr(config, name, None))]


def _agree(expected: Tensor, logits: Tensor) -> bool:
    """The same product in another shape may differ in its last bits, nothing like a scale or a cap."""
    if expected.shape != logits.shape:
        return False
    # sums are rounded on the way, but those of half precision only at the end, being added up in float32
    roundings = 8 if expected.dtype.itemsize == 2 else 64
    tolerance = roundings * torch.finfo(expected.dtype).eps * float(expected.abs().max())
    return float((expected - logits.to(expected.dtype)).abs().max()) <= tolerance


def _probe(model: Any, inner: Any, backbone: Any, linear: nn.Linear) -> tuple[Tensor | None, Tensor]:
    """(last hidden state or None, logits) of one short row of distinct tokens, without dropout."""
    row = {"input_ids": (torch.arange(6, device=linear.weight.device) * 7 % linear.out_features)[None], "use_cache": False}

    def both(before: Any = inner.forward) -> dict[str, Any]:
        return {"logits": before(**row).logits, "hidden": getattr(backbone(**row), "last_hidden_state", None)}

    training = model.training
    model.eval()
    try:
        if not fsdp_modules(model):
            return getattr(backbone(**row), "last_hidden_state", None), model(**row).logits
        with _standing_in(inner, both):  # parts of a sharded model work only within its own forward
            found = model()
        return found["hidden"], found["logits"]
    finally:
        model.train(training)
        spread(model)


@contextmanager
def _standing_in(model: Any, forward: Callable[..., Any]) -> Iterator[None]:
    """``forward`` in the place of the model's own."""
    own = vars(model).get("forward")
    model.forward = forward
    try:
        yield
    finally:
        del model.forward
        if own is not None:
            model.forward = own


def _reason(config: Any) -> str:
    if _numbers(config, _SOFTCAPS):
        return "softcapped-logits"
    return "scaled-logits" if any(number != 1 for number in _numbers(config, _FACTORS + _DIVISORS)) else "other-logits"

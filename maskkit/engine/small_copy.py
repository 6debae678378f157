"""A small model of the same family as a large one, in float64: its own code, few layers, narrow ones.

Some of a model's code computes in float32 whatever it is given (norms, softmax), and then depends on the shape of a batch in its last
bits. Under `in_double` it does not.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from maskkit.errors import ConfigError

LAYERS, HEADS, HEAD_SIZE, INNER, EXPERTS = 2, 4, 8, 48, 4

_SIZES: dict[str, int] = {
    **dict.fromkeys(("num_hidden_layers", "n_layer", "num_layers"), LAYERS),
    **dict.fromkeys(("hidden_size", "n_embd", "d_model"), HEADS * HEAD_SIZE),
    **dict.fromkeys(("num_attention_heads", "n_head"), HEADS),
    **dict.fromkeys(("intermediate_size", "n_inner", "moe_intermediate_size", "shared_expert_intermediate_size"), INNER),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), EXPERTS),
    "head_dim": HEAD_SIZE,
}
"""What a config may call its sizes, and the size here."""


def small_copy(config: Any, name: str, *, seed: int = 0) -> Any:
    """An untrained model of the family that ``config`` is of, in float64, without dropout; vocabulary and all else as the config has it.

    Raises ConfigError where the family cannot be made small, with its own words.
    """
    from transformers import AutoModelForCausalLM

    try:
        small = _shrunk(copy.deepcopy(config.get_text_config()))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model: Any = AutoModelForCausalLM.from_config(small, dtype=torch.float64)  # type: ignore[no-untyped-call]
        with torch.no_grad(), in_double():
            model.eval()(input_ids=torch.arange(6)[None], use_cache=False)
    except (ValueError, RuntimeError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        what = f"no small copy can be made of a {type(config).__name__}"
        raise ConfigError(f"model {name!r}: {what} ({reason}): nothing can be checked") from error
    if model.generation_config is not None:
        model.generation_config.eos_token_id = getattr(config, "eos_token_id", None)
    return model


def _shrunk(config: Any) -> Any:
    for key, size in _SIZES.items():
        if isinstance(getattr(config, key, None), int) and not _computed(config, key):
            setattr(config, key, size)
    if isinstance(groups := getattr(config, "num_key_value_heads", None), int):
        config.num_key_value_heads = min(groups, HEADS // 2)
    if isinstance(chosen := getattr(config, "num_experts_per_tok", None), int):
        config.num_experts_per_tok = min(chosen, EXPERTS // 2)
    if (kinds := getattr(config, "layer_types", None)) and not _computed(config, "layer_types"):
        config.layer_types = (list(dict.fromkeys(kinds)) * LAYERS)[:LAYERS]
    for key in dropouts(config):
        setattr(config, key, 0.0)
    config.use_cache = False
    config._experts_implementation = "eager"  # the kernel for experts of a mixture has no float64
    return config


def dropouts(config: Any) -> list[str]:
    """Keys of a model's config that make it drop something at random."""
    return [key for key, value in config.to_dict().items() if isinstance(value, float) and value and _drops(key)]


def _drops(key: str) -> bool:
    return "dropout" in key or key.endswith("_pdrop")


def _computed(config: Any, key: str) -> bool:
    """Whether the config derives the value from others."""
    return isinstance(getattr(type(config), key, None), property)


class in_double(TorchFunctionMode):
    """Within the block, what is float64 stays so where a model's code asks for float32."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        double = bool(args) and isinstance(args[0], Tensor) and args[0].dtype == torch.float64
        if double and func is Tensor.float:
            return args[0]
        if double and (torch.float32 in args[1:] or kwargs.get("dtype") is torch.float32):
            args = tuple(torch.float64 if each is torch.float32 else each for each in args)
            kwargs = {key: torch.float64 if each is torch.float32 else each for key, each in kwargs.items()}
        return func(*args, **kwargs)

"""Adapters: small matrices beside those of a model that stay as they are, through peft.

LoRA (Hu et al. 2021, https://arxiv.org/abs/2106.09685): the product with a matrix W [out, in] becomes

    W x + (alpha / r) B A x        A [r, in], random at first; B [out, r], zero at first

of which A and B are trained. Before the first step the model is what it was.

    adapter_config.json           base model, ranks and names of the adapted matrices, as peft writes them
    adapter_model.safetensors     A and B of each, by peft's names

This is the only module that imports peft.
"""

from __future__ import annotations

import contextlib
import copy
import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from maskkit.errors import ConfigError, MissingExtraError, UnknownNameError

if TYPE_CHECKING:
    from maskkit.config import LoraConfig

ADAPTERS, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"

EVERYWHERE = "all-linear"
"""Every linear map of the model but its head."""

NAME = "default"
"""What peft calls a model's only set of adapters."""


def add_adapters(model: Any, name: str, lora: LoraConfig, *, seed: int = 0) -> Any:
    """``model`` with LoRA adapters, the only parameters that are trained. name: of the model, for adapter_config.json. seed: of matrices A;
    the caller's random state is left as it was.

    Raises UnknownNameError for a target that the model does not have, ConfigError for one that cannot have adapters, MissingExtraError
    without peft.
    """
    peft = import_peft()
    targets = lora.target_modules if lora.target_modules == EVERYWHERE else list(lora.target_modules)
    if not isinstance(targets, str):
        _check_targets(model, name, targets)
    settings = peft.LoraConfig(
        r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets, bias="none", task_type="CAUSAL_LM"
    )
    with _undisturbed():
        torch.manual_seed(seed)
        try:
            adapted = peft.get_peft_model(model, settings)
        except ValueError as error:
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"model {name!r}: lora.target_modules is {lora.target_modules!r}, which cannot be adapted: {reason}"
            ) from error
    adapted.peft_config[NAME].base_model_name_or_path = name
    return adapted


def is_adapted(model: Any) -> bool:
    """Whether the model is one of `add_adapters`."""
    return hasattr(model, "get_base_model")


def adapter_tensors(model: Any) -> dict[str, Tensor]:
    """The adapters' own tensors by peft's names, not copies."""
    peft = import_peft()
    # "auto" would ask the hub how large the base model's vocabulary was
    tensors: dict[str, Tensor] = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
    return tensors


def write_adapter_config(model: Any, folder: Path) -> None:
    """adapter_config.json, as peft loads it, and the base model's generation config."""
    settings = copy.copy(model.peft_config[NAME])
    settings.inference_mode = True
    settings.save_pretrained(str(folder))
    if getattr(model, "generation_config", None) is not None:
        model.generation_config.save_pretrained(folder)


def frozen_tensors(model: Any) -> Iterator[tuple[str, Tensor]]:
    """Parameters of the base model, which training does not change, by name."""
    return ((name, parameter) for name, parameter in model.named_parameters() if not parameter.requires_grad)


@torch.no_grad()
def merged_tensors(model: Any) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers of a plain model that computes what the adapted one does, by name: W + (alpha / r) B A. The model itself is
    not touched: taking away again what was added would change the last bits."""
    base = model.get_base_model()
    deltas = {name: module for name, module in base.named_modules() if hasattr(module, "get_delta_weight")}
    for name, tensor in base.state_dict().items():
        module, _, rest = name.rpartition(".base_layer.")
        if module and rest == "weight":
            yield f"{module}.weight", tensor + deltas[module].get_delta_weight(NAME).to(tensor.dtype)
        elif module:
            yield f"{module}.{rest}", tensor
        elif ".lora_" not in name:
            yield name, tensor


def base_of(folder: str | Path) -> str | None:
    """Name of the model that the adapters in ``folder`` belong to; None where there are none, or a whole model is there too."""
    file = Path(folder) / ADAPTER_CONFIG
    if not file.is_file() or (file.parent / "config.json").is_file():
        return None
    return str(json.loads(file.read_text(encoding="utf-8")).get("base_model_name_or_path"))


def with_adapters(base: Any, folder: str | Path) -> Any:
    """``base`` with the adapters in ``folder`` merged into it: a plain model. Raises ConfigError if they are not in safetensors."""
    if not (Path(folder) / ADAPTERS).is_file():
        raise ConfigError(f"{folder} has {ADAPTER_CONFIG} and no {ADAPTERS}, expected both; other formats of adapters are not read")
    with _undisturbed():
        return import_peft().PeftModel.from_pretrained(base, str(folder)).merge_and_unload()


def import_peft() -> ModuleType:
    """peft. Raises MissingExtraError."""
    try:
        import peft
    except ImportError as error:
        raise MissingExtraError("peft", "lora", "LoRA") from error
    return peft  # type: ignore[no-any-return,unused-ignore]


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """The random state as it was, and no word about names that peft still uses."""
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        yield


def _check_targets(model: Any, name: str, targets: Sequence[str]) -> None:
    linear = {path for path, module in model.named_modules() if isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"}
    for target in targets:
        if not any(f".{path}".endswith(f".{target}") for path, _ in model.named_modules()):
            known = {path.rpartition(".")[2] for path in linear}
            raise UnknownNameError("module in lora.target_modules", target, known, f"Model {name!r} has these linear maps.")
    if getattr(model.config, "tie_word_embeddings", False):
        shared = [model.get_input_embeddings(), model.get_output_embeddings()]
        for path, module in model.named_modules():
            if any(module is each for each in shared) and any(f".{path}".endswith(f".{target}") for target in targets):
                raise ConfigError(
                    f"lora.target_modules names {path!r}, but model {name!r} has one matrix for its embedding and its head, which an "
                    "adapter of one of them would part; leave it out"
                )

"""What of a model is saved: all of it; of one with adapters, the adapters by themselves or a plain model with them merged in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from maskkit.engine.sharding import Sharding
from maskkit.models.adapters import ADAPTERS, adapter_tensors, is_adapted, merged_tensors, write_adapter_config


class AdapterFiles:
    """Adapters, with the method that saves models. tensors: by peft's names."""

    def __init__(self, model: Any, tensors: dict[str, Tensor]) -> None:
        self._model, self._tensors = model, tensors

    def save_pretrained(self, folder: Path) -> None:
        """Write adapters and config as peft loads them."""
        from safetensors.torch import save_file

        write_adapter_config(self._model, folder)
        save_file({name: tensor.contiguous() for name, tensor in self._tensors.items()}, folder / ADAPTERS, metadata={"format": "pt"})


def saved_form(model: Any, sharding: Sharding, *, merge: bool = False) -> tuple[Any, dict[str, Tensor] | None]:
    """What `maskkit.engine.run_folder.save_model` takes: something with ``save_pretrained``, and its tensors where it has not all of them
    itself. All ranks have to ask."""
    if not is_adapted(model):
        return model, sharding.whole_tensors()
    if merge:
        return model.get_base_model(), sharding.collected(merged_tensors(model))
    return AdapterFiles(model, sharding.collected(adapter_tensors(model).items())), None

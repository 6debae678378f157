"""Tensors that are spread over processes, as files: each process writes its own part, and any number of processes reads them.

PyTorch's distributed checkpoints (`torch.distributed.checkpoint`), in its safetensors format, because the other one has to be unpickled.

    shard-00001-model-00001-of-00001.safetensors    what process 0 has; the header says which part of which tensor it is
    shard-00002-model-00001-of-00001.safetensors    what process 1 has

Names of tensors: ``model.NAME`` for parameters and buffers, ``optimizer.KEY.NAME`` for what the optimizer keeps of parameter NAME.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

MODEL, OPTIMIZER = "model.", "optimizer."


def write_shards(folder: Path, model: dict[str, Tensor], optimizer: dict[str, Tensor]) -> None:
    """Write this process's part of the tensors; all processes call this together. Raises OSError where one of them cannot write."""
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    tensors = {MODEL + name: tensor for name, tensor in model.items()} | {OPTIMIZER + name: tensor for name, tensor in optimizer.items()}
    try:
        save(tensors, storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True))
    except CheckpointException as error:
        rank, (cause, _) = next(iter(error.failures.items()))
        raise OSError(f"process {rank}: {' '.join(str(cause).split())}") from error


def optimizer_tensors(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """What the optimizer keeps of each parameter, by ``KEY.NAME``."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    return {f"{key}.{names[parameter]}": value for parameter, kept in optimizer.state.items() for key, value in kept.items()}


class Shards:
    """The shards in ``folder``, whoever wrote them. Every process reads what it needs, without the others."""

    def __init__(self, folder: Path) -> None:
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

        self._folder = folder
        self._saved = HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata

    def model(self) -> dict[str, tuple[torch.Size, torch.dtype]]:
        """Shape and dtype of parameters and buffers, whole, by name."""
        return {name.removeprefix(MODEL): self._shape(name) for name in self._saved if name.startswith(MODEL)}

    def read_model(self, tensors: dict[str, Tensor]) -> None:
        """Fill parameters and buffers, each of the saved shape, whole or spread over processes."""
        self._read({MODEL + name: tensor for name, tensor in tensors.items()})

    def read_optimizer(self, model: nn.Module, optimizer: Optimizer) -> dict[int, dict[str, Tensor]]:
        """What the optimizer kept, by the parameter's number, as its own ``state_dict`` has it; spread as the parameters are."""
        names = {parameter: name for name, parameter in model.named_parameters()}
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        numbers = {names[parameter]: number for number, parameter in enumerate(parameters)}
        tensors: dict[str, Tensor] = {}
        state: dict[int, dict[str, Tensor]] = {}
        for saved in self._saved:
            if saved.startswith(OPTIMIZER):
                key, _, name = saved.removeprefix(OPTIMIZER).partition(".")
                tensors[saved] = self._empty(saved, parameters[numbers[name]])
                state.setdefault(numbers[name], {})[key] = tensors[saved]
        self._read(tensors)
        return state

    def _shape(self, name: str) -> tuple[torch.Size, torch.dtype]:
        saved: Any = self._saved[name]
        return saved.size, saved.properties.dtype

    def _empty(self, name: str, parameter: Tensor) -> Tensor:
        """Room for a saved tensor: spread as its parameter is, if it has its shape."""
        size, dtype = self._shape(name)
        return torch.empty_like(parameter, dtype=dtype, requires_grad=False) if size == parameter.shape else torch.empty(size, dtype=dtype)

    def _read(self, tensors: dict[str, Tensor]) -> None:
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
        from torch.distributed.checkpoint.state_dict_loader import load

        with torch.no_grad(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # which is how it is meant
            load(tensors, storage_reader=HuggingFaceStorageReader(str(self._folder)), no_dist=True)

"""How a model lies on several ranks, and how their gradients become the gradient of the global batch.

    none        every rank has the whole model; gradients are added up once per step
    gradients   gradients and the optimizer's averages are spread over the ranks, parameters only between steps (ZeRO-2)
    full        parameters too, gathered layer by layer when they are needed (ZeRO-3)

The last two are PyTorch's FSDP2 (`torch.distributed.fsdp.fully_shard`). Gradients are sums over ranks, never means: each rank's loss is
already divided by what the whole global batch weighs, so nothing is divided twice.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from maskkit.engine.distributed import Ranks
from maskkit.errors import ConfigError, UnknownNameError
from maskkit.loss.head import spread

T = TypeVar("T")

SHARDS = ("full", "gradients", "none")
"""Names of the ways to lie on several ranks."""

BUCKET = 2**24
"""So many gradient values are added up over ranks at once."""

METHOD = "maskkit_log_probs"
"""Name under which FSDP knows the computation of log-probabilities as a forward pass of the model."""


class Sharding:
    """A model laid out over the ranks. With one rank nothing is changed.

    shard: a name of `SHARDS`. bf16: parameters are gathered in bfloat16; gradients are added up in float32, and the parameters that the
    optimizer updates stay float32. Raises UnknownNameError for another name, ConfigError
    where PyTorch is too old.

    The model has to be on the ranks' device for ``none``; otherwise it is moved there, a layer at a time.
    """

    def __init__(self, model: Any, ranks: Ranks, shard: str = "full", *, bf16: bool = False) -> None:
        if shard not in SHARDS:
            raise UnknownNameError("shard", shard, SHARDS)
        self.model, self.ranks = model, ranks
        self.name = shard if ranks.size > 1 else "none"
        if self.sharded:
            if not hasattr(FSDPModule, "set_force_sum_reduction_for_comms"):
                raise ConfigError(f"training.shard is {shard!r}, which needs torch 2.9, found {torch.__version__}: use shard: none")
            policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32) if bf16 else MixedPrecisionPolicy()
            mesh = init_device_mesh(ranks.device.type, (ranks.size,))
            for module in (*layers_of(model), model):
                # the root is needed again at once in the backward pass
                fully_shard(module, mesh=mesh, mp_policy=policy, reshard_after_forward=shard == "full" and module is not model)
                module.set_gradient_divide_factor(1.0)
                module.set_force_sum_reduction_for_comms(True)

    @property
    def sharded(self) -> bool:
        """Whether parameters are spread over ranks, as DTensors."""
        return self.name != "none"

    def forward_method(self, function: Callable[..., T]) -> Callable[..., T]:
        """``function``, which uses the model's parts on its own, as a forward pass of the model: its parameters are gathered before."""
        if not self.sharded:
            return function
        setattr(self.model, METHOD, types.MethodType(lambda model, *args, **kwargs: function(*args, **kwargs), self.model))
        register_fsdp_forward_method(self.model, METHOD)
        forward: Callable[..., T] = getattr(self.model, METHOD)

        def gathered(*args: Any, **kwargs: Any) -> T:
            result = forward(*args, **kwargs)
            if not torch.is_grad_enabled():
                self.spread()
            return result

        return gathered

    def spread(self) -> None:
        """Spread the parameters again after a forward pass that no backward pass follows: until then the model's parameters are others
        than those that have gradients and that the optimizer knows."""
        spread(self.model)

    def each(self, batches: Sequence[T]) -> Iterator[T]:
        """The micro-batches of one step, each to be run forward and backward; afterwards every rank has the gradient of all ranks'.

        Every rank passes the same number of micro-batches.
        """
        for number, batch in enumerate(batches, start=1):
            if self.sharded:
                self.model.set_requires_gradient_sync(number == len(batches))
            yield batch
        if not self.sharded and self.ranks.size > 1:
            self._add_up_gradients()

    def whole_tensors(self) -> dict[str, Tensor] | None:
        """Parameters and buffers by name, whole, on the CPU of rank 0 (empty elsewhere); None where every rank has them all anyway."""
        return self.collected(self.model.state_dict().items()) if self.sharded else None

    def collected(self, tensors: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
        """Tensors of the model by name, whole, on the CPU of rank 0 (empty elsewhere); what the model has under two names, such as tied
        embeddings, under the first. All ranks have to ask."""
        once, all_names = ({name for name, _ in self.model.named_parameters(remove_duplicate=only)} for only in (True, False))
        everywhere = ((name, whole(tensor)) for name, tensor in tensors if name in once or name not in all_names)
        return {name: tensor.detach().cpu() for name, tensor in everywhere if self.ranks.first}

    @torch.no_grad()
    def _add_up_gradients(self) -> None:
        """In buckets: one operation for many small tensors, and never a second copy of all gradients."""
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        used = self.ranks.sum(torch.tensor([parameter.grad is not None for parameter in trained], dtype=torch.int32)).tolist()
        gradients: list[Tensor] = []
        for parameter, count in zip(trained, used, strict=True):
            if count:  # what no rank has used stays without a gradient, as with one rank: else it would decay
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                gradients.append(parameter.grad)
        for bucket in _buckets(gradients):
            total = self.ranks.sum(torch.cat([gradient.flatten() for gradient in bucket]))
            for gradient, part in zip(bucket, torch.split(total, [gradient.numel() for gradient in bucket]), strict=True):
                gradient.copy_(part.view_as(gradient))


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The repeated layers of a transformer, which are gathered one at a time: the children of its longest list of modules."""
    lists = [list(module) for module in model.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=_size, default=[])


def _size(modules: Sequence[nn.Module]) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor that may be spread over ranks; every rank has to ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(tensor: Tensor, full: Tensor) -> Tensor:
    """``full``, which every rank has, spread over ranks as ``tensor`` is."""
    if not isinstance(tensor, DTensor):
        return full
    return distribute_tensor(full.to(tensor.device), tensor.device_mesh, tensor.placements, src_data_rank=None)


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Neighbours of one dtype, at most `BUCKET` values together unless one alone has more."""
    bucket: list[Tensor] = []
    for gradient in gradients:
        if bucket and (gradient.dtype != bucket[0].dtype or sum(g.numel() for g in bucket) + gradient.numel() > BUCKET):
            yield bucket
            bucket = []
        bucket.append(gradient)
    if bucket:
        yield bucket

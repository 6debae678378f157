"""Models whose parameters lie spread over two ranks (FSDP), in every trainer that shards one; `ranks` runs the cases.

transformers and Lightning shard on CPU too. accelerate takes up FSDP only where it finds an accelerator (its ``state.py``); told that there
is one, it does all the rest on CPU, so the last cases tell it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import accelerate
import datasets
import lightning
import torch
import torch.distributed as dist
import trl
from lightning.fabric.strategies import ModelParallelStrategy as FabricModelParallelStrategy
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, MixedPrecisionPolicy, fully_shard
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
from transformers import LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRMSNorm

import maskkit
from maskkit import embedded
from maskkit.integrations.global_batch import GlobalBatchLoss
from maskkit.integrations.lightning import WeightedDataModule
from maskkit.integrations.transformers import WeightedTrainer
from maskkit.integrations.trl import WeightedSFTTrainer
from tests.integrations.small import CHECKPOINTING, TOKENIZER, apart, arguments, in_order, mapped
from tests.integrations.test_lightning import Still
from tests.integrations.test_lightning import trainer as lightning_trainer
from tests.reference import ExactNorm, ragged_rows, reference_step, tiny_llama

RANKS, RATE = 2, 0.5
COLLATOR = maskkit.DataCollator(TOKENIZER)
Case = Callable[[Path], float]
SHARDED: dict[str, Case] = {}
ROWS = ragged_rows(8)


def case(name: str) -> Callable[[Case], Case]:
    return lambda function: SHARDED.setdefault(name, function)


def whole(tensor: Any) -> Tensor:
    assert hasattr(tensor, "full_tensor"), "not spread over ranks"
    return tensor.full_tensor()


def from_reference(model: Any, tied: bool) -> float:
    """How far the parameters are from those after one step of gradient descent with the reference's gradients."""
    expected = tiny_llama(tie_word_embeddings=tied)
    _, gradients = reference_step(expected, ROWS, "weights")
    parameters = {name: (p.detach() - RATE * gradients[name]) for name, p in expected.named_parameters()}
    return apart({name.replace("_checkpoint_wrapped_module.", ""): whole(p).detach() for name, p in model.named_parameters()}, parameters)


def two_micro_batches() -> list[Any]:
    first = dist.get_rank() * 4
    return [COLLATOR(mapped(ROWS)[start : start + 2]) for start in (first, first + 2)]


def by_hand(tied: bool, tail: str, *, after: bool) -> float:
    """A loop of one's own, with checkpointing and accumulation. tail: where norm and head belong; after: the loss is made last."""
    _, gradients = reference_step(tiny_llama(tie_word_embeddings=tied), ROWS, "weights")
    model, mesh = tiny_llama(tie_word_embeddings=tied), init_device_mesh("cpu", (RANKS,))
    getattr(model, f"{CHECKPOINTING}_enable")()
    weighted = None if after else GlobalBatchLoss(model)
    ends = {"root": [], "head": [model.lm_head], "tail": [[model.model.norm, model.lm_head, *[model.model.embed_tokens] * tied]]}[tail]
    for unit in (*model.model.layers, *ends, model):
        fully_shard(unit, mesh=mesh, reshard_after_forward=unit not in ends)
    weighted = weighted or GlobalBatchLoss(model)
    assert weighted.head.plain
    micro_batches = two_micro_batches()
    denominator = weighted.denominator(micro_batches)
    for number, batch in enumerate(micro_batches):
        model.set_requires_gradient_sync(number == len(micro_batches) - 1)
        (weighted(model, batch, denominator) * RANKS).backward()
    return apart({name: whole(p.grad) for name, p in model.named_parameters()}, gradients)


for _tied, _tail, _after in (
    (False, "root", False),
    (True, "root", True),
    (False, "head", True),
    (False, "tail", False),
    (True, "tail", True),
):
    _name = f"by hand, {'tied, ' * _tied}head in {_tail}, {'sharded before' if _after else 'sharded after'} the loss is made"
    case(_name)(lambda folder, tied=_tied, tail=_tail, after=_after: by_hand(tied, tail, after=after))


@case("by hand, FSDP1")
def _(folder: Path) -> float:
    _, gradients = reference_step(tiny_llama(), ROWS, "weights")
    inner = tiny_llama()
    weighted = GlobalBatchLoss(inner)
    layers = ModuleWrapPolicy({LlamaDecoderLayer})
    model = FullyShardedDataParallel(inner, auto_wrap_policy=layers, device_id=torch.device("cpu"), use_orig_params=True)
    micro_batches = two_micro_batches()
    denominator = weighted.denominator(micro_batches)
    for number, batch in enumerate(micro_batches):
        with model.no_sync() if number < len(micro_batches) - 1 else nullcontext():
            (weighted(model, batch, denominator) * RANKS).backward()
    with FullyShardedDataParallel.summon_full_params(model, with_grads=True):
        return apart({name.replace("_fsdp_wrapped_module.", ""): p.grad for name, p in model.named_parameters()}, gradients)


@case("what a module returns is cast, and log-probabilities are not")
def _(folder: Path) -> float:
    found = []
    for output_dtype in (None, torch.bfloat16):
        model, mesh = tiny_llama().float(), init_device_mesh("cpu", (RANKS,))
        weighted, policy = GlobalBatchLoss(model), MixedPrecisionPolicy(param_dtype=torch.bfloat16, output_dtype=output_dtype)
        for unit in (*model.model.layers, model.lm_head, model):
            fully_shard(unit, mesh=mesh, mp_policy=policy)
        batch = two_micro_batches()[0]
        weighted(model, batch, weighted.denominator([batch])).backward()
        found.append({name: whole(p.grad) for name, p in model.named_parameters()})
    return apart(*found)


def saved(folder: Path, tied: bool) -> Path:
    """A folder with the model of the reference, written by the first rank. Its norms compute in float64 in this process from now on."""
    LlamaRMSNorm.eps = property(lambda norm: norm.variance_epsilon)
    LlamaRMSNorm.forward = ExactNorm.forward
    path = folder / f"tied-{tied}"
    if dist.get_rank() == 0:
        exact = tiny_llama(tie_word_embeddings=tied)
        stock = LlamaForCausalLM(exact.config).double()
        stock.load_state_dict(exact.state_dict())
        stock.save_pretrained(path)
    dist.barrier()
    return path


def trainer_of(folder: Path, model: Any, **options: Any) -> Any:
    sizes = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "per_device_eval_batch_size": 2}
    args = arguments(folder, learning_rate=RATE, ddp_backend="gloo", **sizes, **options)
    return in_order(WeightedTrainer(model, args, train_dataset=mapped(ROWS), eval_dataset=mapped(ROWS), data_collator=COLLATOR))


def sharded_by_transformers(folder: Path, tied: bool) -> float:
    """Sharded when it is loaded, so before the loss is made; unless tied, evaluated before its optimizer is made."""
    from transformers.distributed.configuration_utils import DistributedConfig

    shards = DistributedConfig(fsdp_size=RANKS)
    model = LlamaForCausalLM.from_pretrained(saved(folder, tied), dtype=torch.float64, distributed_config=shards)
    trainer = trainer_of(folder, model)
    assert trainer.weighted.head.plain
    wrong = 0.0 if tied else abs(trainer.evaluate()["eval_loss"] - reference_step(tiny_llama(), ROWS, "weights")[0])
    trainer.train()
    return max(wrong, from_reference(model, tied))


NEWER = hasattr(LlamaForCausalLM, "maybe_distribute_model")
"""Older versions do not shard models by themselves, nor does their own Trainer go on with a sharded run where it was cut."""

if NEWER:
    case("sharded by transformers")(lambda folder: sharded_by_transformers(folder, False))
    case("sharded by transformers, tied")(lambda folder: sharded_by_transformers(folder, True))


class ShardedModule(Still):
    """Shards itself, as Lightning asks for."""

    def configure_model(self) -> None:
        shard(self.model, self.device_mesh)


def shard(model: Any, mesh: Any) -> Any:
    for unit in (*model.model.layers, model):
        fully_shard(unit, mesh=mesh["data_parallel"])
    return model


def sharded_by_lightning(automatic: bool) -> float:
    _, gradients = reference_step(tiny_llama(), ROWS, "weights")
    module = ShardedModule(tiny_llama(), automatic=automatic, max_grad_norm=None if automatic else 1e9)
    micro = None if automatic else 2
    data = WeightedDataModule(mapped(ROWS), COLLATOR, batch_size=2, accumulation=micro, shuffle=False, validation=mapped(ROWS))
    strategy = ModelParallelStrategy(data_parallel_size=RANKS, tensor_parallel_size=1)
    lightning_trainer(devices=RANKS, strategy=strategy, accumulate_grad_batches=2 if automatic else 1).fit(module, data)
    return apart({name: whole(gradient) for name, gradient in module.gradients.items()}, gradients)


case("sharded by Lightning, by hand")(lambda folder: sharded_by_lightning(False))
case("sharded by Lightning, automatic")(lambda folder: sharded_by_lightning(True))


@case("sharded by Fabric")
def _(folder: Path) -> float:
    _, gradients = reference_step(tiny_llama(), ROWS, "weights")
    strategy = FabricModelParallelStrategy(shard, data_parallel_size=RANKS, tensor_parallel_size=1)
    fabric = lightning.Fabric(accelerator="cpu", devices=RANKS, strategy=strategy)
    fabric.launch()
    inner = tiny_llama()
    weighted, micro_batches = GlobalBatchLoss(inner), two_micro_batches()
    model = fabric.setup_module(inner)
    denominator = weighted.denominator(micro_batches, lambda value: fabric.all_reduce(value, reduce_op="sum"))
    for number, batch in enumerate(micro_batches):
        with fabric.no_backward_sync(model, enabled=number < len(micro_batches) - 1):
            fabric.backward(weighted(model, batch, denominator) * fabric.world_size)
    return apart({name: whole(p.grad) for name, p in inner.named_parameters()}, gradients)


def accelerate_shards_on_cpu() -> None:
    """From now on, wherever it is given a plugin for FSDP."""
    state, before = accelerate.state.AcceleratorState, accelerate.state.AcceleratorState.__init__

    def init(self: Any, *args: Any, fsdp_plugin: Any = None, **options: Any) -> None:
        before(self, *args, fsdp_plugin=fsdp_plugin, **options)
        if fsdp_plugin is not None:
            if self._mixed_precision != "no":
                fsdp_plugin.set_mixed_precision(self._mixed_precision)
            self.fsdp_plugin = fsdp_plugin
            self.distributed_type = accelerate.DistributedType.FSDP
            accelerate.PartialState._shared_state["distributed_type"] = self.distributed_type

    if before.__module__ != __name__:
        state.__init__ = init


def fsdp(**config: Any) -> dict[str, Any]:
    accelerate_shards_on_cpu()
    return {"fsdp": "full_shard auto_wrap", "fsdp_config": {"version": 2, "transformer_layer_cls_to_wrap": ["LlamaDecoderLayer"], **config}}


def sharded_by_accelerate(folder: Path, tied: bool, **config: Any) -> float:
    trainer = trainer_of(folder, tiny_llama(tie_word_embeddings=tied), **fsdp(**config))
    trainer.train()
    return from_reference(trainer.model, tied)


case("sharded by accelerate")(lambda folder: sharded_by_accelerate(folder, False))
case("sharded by accelerate, tied, checkpointing")(lambda folder: sharded_by_accelerate(folder, True, activation_checkpointing=True))


def resumed(folder: Path) -> float:
    """Two steps, and the second once more from the checkpoint of the first."""
    checkpoint = folder / "resumed" / "checkpoint-1"
    options = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1, "optim": "adamw_torch"}
    parameters = []
    for resume in (None, str(checkpoint)):
        trainer = trainer_of(folder / "resumed", tiny_llama(), **options, **fsdp())
        trainer.train(resume_from_checkpoint=resume)
        parameters.append({name: whole(p).detach() for name, p in trainer.model.named_parameters()})
    return apart(*parameters)


if NEWER:
    case("sharded by accelerate, resumed")(resumed)


@case("sharded by accelerate, bfloat16, TRL")
def _(folder: Path) -> float:
    """The log-probabilities that arrive, in bfloat16 and back: if that changed nothing, something has rounded them on the way."""
    arrived: list[Tensor] = []

    class Spied(WeightedSFTTrainer):
        def _score(self, *args: Any, **options: Any) -> Any:
            scored = super()._score(*args, **options)
            arrived.append(scored.found.log_prob.detach())
            return scored

    args = arguments(folder, trl.SFTConfig, bf16=True, ddp_backend="gloo", per_device_train_batch_size=4, **fsdp())
    rows, tokenizer = datasets.Dataset.from_list(mapped(ROWS)), embedded.tiny_tokenizer()
    in_order(Spied(tiny_llama().float(), args, train_dataset=rows, processing_class=tokenizer)).train()
    return float(torch.equal(arrived[0].bfloat16().to(arrived[0].dtype), arrived[0]))

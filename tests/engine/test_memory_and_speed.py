"""Options that save memory or time: optimizers by name, the dtype of parameters, compiled layers."""

from __future__ import annotations

import builtins
import shutil
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import nn

from maskkit import embedded
from maskkit.config import TrainingConfig
from maskkit.engine import compiling, train
from maskkit.engine.compiling import compile_layers
from maskkit.engine.optimizer import OPTIMIZERS, adamw, optimizer_of
from maskkit.errors import ConfigError, MissingExtraError, UnknownNameError
from tests.engine.runs import config, measured, write_rows

SHORT = {"max_steps": 4, "gradient_accumulation_steps": 1, "warmup_steps": 0, "save_steps": 2, "eval_steps": 0}


def short_run(tmp_path: Path, name: str = "run", **training: Any) -> Any:
    if not (tmp_path / "rows.jsonl").exists():
        write_rows(tmp_path / "rows.jsonl", 8)
    return config(tmp_path, name, answers={"count": 0}, training={**SHORT, **training})


def ends_the_same_after_a_resume(run: Any) -> Any:
    result = train(run, progress=False)
    expected, lines = (result.model_dir / "model.safetensors").read_bytes(), measured(result.metrics_path)
    shutil.rmtree(result.output_dir / "checkpoints" / "step-4")
    shutil.rmtree(result.model_dir)
    again = train(run, progress=False, resume=True)
    assert (again.model_dir / "model.safetensors").read_bytes() == expected
    assert measured(again.metrics_path) == lines
    return result


@pytest.mark.parametrize(("name", "rate"), [("adamw_torch_fused", 3e-3), ("adafactor", 5e-2), ("adamw_torch_8bit", 3e-3)])
def test_each_optimizer_learns_and_goes_on_with_the_same_bits(tmp_path, name, rate):
    if name == "adamw_torch_8bit":
        pytest.importorskip("torchao", reason="torchao is not installed")
    result = ends_the_same_after_a_resume(short_run(tmp_path, optim=name, learning_rate=rate))
    assert result.last_loss < result.first_loss


def test_adamw_in_one_kernel_is_adamw():
    moved = {}
    for name in ("adamw", "adamw_torch", "adamw_torch_fused"):
        torch.manual_seed(0)
        model = nn.Linear(3, 2)
        optimizer = optimizer_of(name, model, 0.1, 0.2)
        for _ in range(3):
            model(torch.ones(3)).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        moved[name] = model.weight.detach()
    assert torch.equal(moved["adamw"], moved["adamw_torch"])
    assert torch.allclose(moved["adamw"], moved["adamw_torch_fused"], atol=1e-6)


def test_adafactor_keeps_rows_and_columns_only():
    model = nn.Linear(64, 32, bias=False)
    optimizer = optimizer_of("adafactor", model, 0.1)
    model(torch.ones(64)).square().sum().backward()
    optimizer.step()
    assert sum(value.numel() for value in optimizer.state[model.weight].values()) < 64 + 32 + 8


def test_the_config_knows_every_optimizer():
    assert get_args(TrainingConfig.model_fields["optim"].annotation) == tuple(OPTIMIZERS)
    with pytest.raises(UnknownNameError, match="Did you mean 'adafactor'"):
        optimizer_of("adafctor", nn.Linear(2, 2), 0.1)


@pytest.mark.parametrize("name", ["adafactor", "adamw_torch_8bit"])
def test_one_that_needs_whole_parameters_is_refused_where_they_are_spread(name):
    with pytest.raises(ConfigError, match=r"needs whole parameters, but they are spread .* set training.shard: none"):
        optimizer_of(name, nn.Linear(2, 2), 0.1, sharded=True)


def test_without_torchao_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    real = builtins.__import__

    def refusing(wanted: str, *args: Any, **more: Any) -> Any:
        if wanted.startswith("torchao"):
            raise ImportError("No module named 'torchao'", name="torchao")
        return real(wanted, *args, **more)

    monkeypatch.setattr(builtins, "__import__", refusing)
    with pytest.raises(MissingExtraError, match=r"pip install 'maskkit\[torchao\]'"):
        optimizer_of("adamw_torch_8bit", nn.Linear(2, 2), 0.1)


def test_another_optimizer_cannot_go_on(tmp_path):
    train(short_run(tmp_path, max_steps=2), progress=False)
    with pytest.raises(ConfigError, match=r'training.optim was "adamw", is "adafactor"'):
        train(short_run(tmp_path, optim="adafactor"), progress=False, resume=True)


def test_parameters_in_bfloat16_are_warned_about_and_resumable(tmp_path, caplog):
    result = ends_the_same_after_a_resume(short_run(tmp_path, dtype="bfloat16"))
    assert "training.dtype is bfloat16: parameters of 8 bits of precision lose small updates" in caplog.text
    from safetensors.torch import load_file

    assert {tensor.dtype for tensor in load_file(result.model_dir / "model.safetensors").values()} == {torch.bfloat16}


def test_adapters_of_a_bfloat16_model_are_float32_and_nothing_is_warned_about(tmp_path, caplog):
    pytest.importorskip("peft", reason="peft is not installed")
    from safetensors.torch import load_file

    run = short_run(tmp_path, dtype="bfloat16").model_copy(update={"lora": config(tmp_path, lora={"r": 2}).lora})
    result = train(run, progress=False)
    assert {tensor.dtype for tensor in load_file(result.model_dir / "adapter_model.safetensors").values()} == {torch.float32}
    assert "bfloat16" not in caplog.text


def test_compiled_layers_give_the_same_predictions_and_gradients():
    reason = compiling.cannot_compile(torch.device("cpu"))
    if reason:
        pytest.skip(f"nothing can be compiled here: {reason}")
    ids, found = torch.arange(3, 15).view(2, 6), []
    for compiled in (False, True):
        model = embedded.tiny_model()
        names = list(model.state_dict())
        assert not compiled or compile_layers(model)
        assert list(model.state_dict()) == names
        log_probs = model(input_ids=ids, use_cache=False).logits.log_softmax(-1)
        log_probs[..., 5].sum().backward()
        found.append([log_probs.detach(), *(parameter.grad for parameter in model.parameters())])
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*found, strict=True))
    assert not torch.equal(found[0][0], found[1][0]), "other kernels round differently"


def test_a_machine_that_cannot_compile_goes_on_with_a_word(monkeypatch, caplog):
    def refuses(*args: Any, **options: Any) -> Any:
        raise RuntimeError("no C++\ncompiler")

    monkeypatch.setattr(torch, "compile", refuses)
    assert not compile_layers(embedded.tiny_model())
    assert "this machine cannot compile (RuntimeError: no C++ compiler); the run goes on without" in caplog.text


def test_fused_is_for_gpus_unless_asked_for():
    assert not adamw(nn.Linear(2, 2), 0.1).defaults["fused"]

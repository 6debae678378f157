"""Adapters on two processes: those of one process, however the model lies, and either goes on with the other's checkpoint."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from maskkit.config import RunConfig
from maskkit.engine import train
from maskkit.engine.distributed import joined_ranks
from maskkit.engine.metrics import read_metrics
from tests.engine.runs import config, write_rows

pytest.importorskip("peft", reason="peft is not installed")

RUNS = {"full": {"shard": "full"}, "none": {"shard": "none"}, "merged": {"shard": "full"}, "resumed": {"shard": "full"}}


def lora_run(folder: Path, name: str, processes: int, **training) -> RunConfig:
    given = {"max_steps": 4, "warmup_steps": 0, "eval_steps": 0, "save_steps": 2, "keep_last": None}
    given |= {"gradient_accumulation_steps": 2 // processes, **training}
    lora = {"r": 4, "alpha": 8, "merge": name.startswith("merged")}
    return config(folder, name, training=given, lora=lora, answers={"count": 2, "max_new_tokens": 4})


def cut(source: Path, copy: Path) -> None:
    """As if the run had died after step 2."""
    shutil.copytree(source, copy)
    shutil.rmtree(copy / "model")
    shutil.rmtree(copy / "checkpoints" / "step-4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Alone, then two together, then alone again with what the two had saved."""
    folder = tmp_path_factory.mktemp("lora")
    write_rows(folder / "rows.jsonl", 12)
    train(lora_run(folder, "alone", 1), progress=False)
    train(lora_run(folder, "merged-alone", 1), progress=False)
    cut(folder / "alone", folder / "resumed")
    for name, training in RUNS.items():
        (folder / f"{name}.yaml").write_text(lora_run(folder, name, 2, **training).to_yaml())
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    environment = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.engine.test_lora_ranks", str(folder)]
    processes = [
        subprocess.Popen(command, env={**environment, "RANK": str(rank)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for rank in (0, 1)
    ]
    said = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(said)
    cut(folder / "full", folder / "again")
    train(lora_run(folder, "again", 1), progress=False, resume=True)
    return folder


@pytest.mark.parametrize("name", [*RUNS, "again"])
def test_losses_are_those_of_one_process(folder, name):
    losses = [[line["loss"] for line in read_metrics(folder / run / "metrics.jsonl", "train")] for run in (name, "alone")]
    assert len(losses[0]) == 4
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("name", [*RUNS, "again"])
def test_adapters_and_merged_models_are_those_of_one_process(folder, name):
    file = "model.safetensors" if name == "merged" else "adapter_model.safetensors"
    tensors, expected = (load_file(folder / run / "model" / file) for run in (name, "merged-alone" if name == "merged" else "alone"))
    assert tensors.keys() == expected.keys()
    assert max(float((tensors[key] - expected[key]).abs().max()) for key in expected) < 1e-4


def test_a_checkpoint_of_two_holds_adapters_alone(folder):
    checkpoint = folder / "full" / "checkpoints" / "step-4"
    sizes = {file.name: file.stat().st_size for file in (checkpoint / "shards").iterdir()}
    assert len(sizes) == 2
    assert json.loads((checkpoint / "adapter_config.json").read_text())["r"] == 4
    assert sum(sizes.values()) < 0.5 * (folder / "merged" / "model" / "model.safetensors").stat().st_size


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    with joined_ranks():
        for name in RUNS:
            train(RunConfig.load(folder / f"{name}.yaml"), progress=False, resume=name == "resumed")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

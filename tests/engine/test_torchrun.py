"""The command as users start it on several devices: it trains, it stops when it is asked to, and it can be gone on with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from maskkit.engine import train
from maskkit.engine.metrics import read_metrics
from tests.engine.runs import config

FOREVER = {"max_steps": 100_000, "lr_scheduler_type": "constant", "eval_steps": 0, "log_kinds_every": 0, "save_steps": 0}


def test_two_processes_stop_at_sigterm_and_one_goes_on(tmp_path):
    together = config(tmp_path, training=FOREVER | {"gradient_accumulation_steps": 1}, answers={"count": 0})
    (tmp_path / "run.yaml").write_text(together.to_yaml())
    status, said = terminated(tmp_path / "run.yaml", tmp_path / "run" / "metrics.jsonl", after=3)
    steps = len(read_metrics(tmp_path / "run" / "metrics.jsonl", "train"))
    assert status != 0
    assert steps >= 3
    assert read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]["event"] == "stopped"
    (error,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert error.startswith(f"error: stopped by SIGTERM after step {steps}, saved in {tmp_path}/run/checkpoints/step-{steps}; ")
    assert error.endswith(f"torchrun --nproc-per-node 2 -m maskkit train {tmp_path}/run/config.yaml --resume")

    alone = {"max_steps": steps + 2, "gradient_accumulation_steps": 2}
    resumed = train(config(tmp_path, training=FOREVER | alone, answers={"count": 0}), progress=False, resume=True)
    whole = train(config(tmp_path, "whole", training=FOREVER | alone, answers={"count": 0}), progress=False)
    losses = [[line["loss"] for line in read_metrics(result.metrics_path, "train")] for result in (resumed, whole)]
    assert len(losses[0]) == steps + 2
    # rounding differs and grows from step to step
    assert losses[0][:3] == pytest.approx(losses[1][:3], rel=1e-6)
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def terminated(run: Path, metrics: Path, after: int) -> tuple[int, str]:
    """Train with two processes and send the launcher SIGTERM after so many steps; its status, and all that was said."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d"]
    command += ["--rdzv-endpoint", "127.0.0.1:0", "-m", "maskkit", "train", str(run)]
    log = run.with_suffix(".log")
    with log.open("w") as file:
        process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=file, stderr=subprocess.STDOUT)
        limit = time.monotonic() + 200
        while not (metrics.exists() and metrics.read_bytes().count(b'"event": "train"') >= after):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < limit, log.read_text()
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        return process.wait(timeout=100), log.read_text()

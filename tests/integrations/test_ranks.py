"""Two ranks over gloo: gradients of every integration are those of the reference."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

for package in ("accelerate", "datasets", "lightning", "trl"):
    pytest.importorskip(package)

KERNEL = {"trl": 1e-6, "trl, packs that do not divide": 1e-6}
"""TRL's kernel computes in float32; all else is float64."""


def test_gradients_on_two_ranks_are_those_of_the_reference(tmp_path: Path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "tests.integrations.ranks", str(tmp_path)]
    subprocess.run(command, env=environment, cwd=Path(__file__).parents[2], capture_output=True, check=True, timeout=600)
    for rank in (0, 1):
        found = json.loads((tmp_path / f"rank{rank}.json").read_text())
        assert len(found) in (33, 36), "three cases need a newer transformers"
        for name, difference in found.items():
            assert isinstance(difference, float), f"rank {rank}, {name}: {difference}"
            assert difference < KERNEL.get(name, 1e-10), f"rank {rank}, {name}"

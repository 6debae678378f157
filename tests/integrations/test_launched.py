"""Two processes that ``accelerate launch`` has started do what one does: each example, and a run that is gone on with. (``torchrun`` starts
two in docs/integrations.md.)"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

for package in ("accelerate", "datasets", "lightning", "trl"):
    pytest.importorskip(package)

from tests.integrations.launched import EXAMPLES, ROWS, SAVE, STEPS, printed, trained  # noqa: E402

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}


def losses(lines: list[str]) -> list[float]:
    return [float(match[1]) for line in lines if (match := re.match(r"step \d+  loss (\d+\.\d+)$", line))]


@pytest.fixture(scope="module")
def curve() -> list[float]:
    """What one process prints, which is the same for every example."""
    return losses(printed("plain_torch"))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """The folder, and what the first and the second process found."""
    folder = tmp_path_factory.mktemp("launched")
    options = "--multi_gpu --num_processes 2 --main_process_port 0 --num_machines 1 --mixed_precision no --dynamo_backend no"
    launch = [sys.executable, "-m", "accelerate.commands.launch", *options.split(), "-m", "tests.integrations.launched", str(folder)]
    done = subprocess.run(launch, env=ENVIRONMENT, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, *(json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1))


def test_every_example_prints_the_curve_of_one_process_and_prints_it_once(two, curve):
    _, first, second = two
    assert len(curve) == 8
    for example in EXAMPLES:
        assert losses(first["examples"][example]) == pytest.approx(curve, abs=1e-5), example
        assert second["examples"][example] == [], example


def test_losses_of_steps_kinds_and_evaluations_are_those_of_one_process(two, tmp_path):
    _, first, second = two
    alone = trained(tmp_path)
    assert ROWS % 2, "some row has to be filled up with"
    steps, evaluations = ([entry for entry in alone["history"] if name in entry] for name in ("loss", "eval_loss"))
    assert len(steps) == STEPS
    assert len(evaluations) >= STEPS // SAVE
    assert {"loss", "loss_answer", "loss_user"} <= steps[0].keys()
    assert {"eval_loss", "eval_loss_answer", "eval_loss_user"} <= evaluations[0].keys()
    for one, both in zip(alone["history"], first["whole"]["history"], strict=True):
        assert both == pytest.approx(one, abs=1e-5)
    assert first["whole"]["parameters"] == pytest.approx(alone["parameters"], abs=1e-9)
    assert second["whole"]["parameters"] == first["whole"]["parameters"]
    assert first["whole"]["printed"]
    assert not second["whole"]["printed"]


def skip_unless_resumed(found: dict[str, Any]) -> None:
    if found["resumed"] is None:
        pytest.skip("the Trainer of this transformers cannot read checkpoints of several processes on CPU")


def test_a_run_of_two_processes_is_gone_on_with_as_if_it_had_not_been_cut(two):
    _, *found = two
    skip_unless_resumed(found[0])
    for process in found:
        assert process["resumed"]["parameters"] == process["whole"]["parameters"]
        assert process["resumed"]["history"][SAVE + 1 : -1] == process["whole"]["history"][SAVE + 1 : -1]


def test_only_the_first_process_writes(two):
    folder, first, _ = two
    skip_unless_resumed(first)
    written = [{path.name for path in (folder / f"resumed{rank}").rglob("*") if path.is_file()} for rank in (0, 1)]
    assert {"model.safetensors", "trainer_state.json", "rng_state_0.pth"} <= written[0]
    assert written[1] == {"rng_state_1.pth"}

"""The examples for trainers: each is short, runs, and prints the same loss curve for the same rows."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
NEEDS = {
    "plain_torch": (),
    "accelerate_loop": ("accelerate",),
    "hf_trainer": ("accelerate", "datasets"),
    "trl_sft": ("trl", "datasets"),
    "lightning_module": ("lightning",),
}


def test_all_of_them_print_the_same_curve(capsys: pytest.CaptureFixture[str]):
    for package in sorted({package for packages in NEEDS.values() for package in packages}):
        pytest.importorskip(package)
    curves = {}
    for name in NEEDS:
        assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) < 80
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        curves[name] = [float(loss) for loss in re.findall(r"^step \d+  loss (\d+\.\d+)$", capsys.readouterr().out, re.M)]
    expected = curves["plain_torch"]
    assert len(expected) == 8
    assert expected[-1] < 0.7 * expected[0]
    for name, curve in curves.items():
        assert curve == pytest.approx(expected, abs=1e-5), name

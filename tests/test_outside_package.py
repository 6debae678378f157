"""A stranger's package: six lines of pyproject, ten of code, installed by pip, selected by name. No line of maskkit changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PYPROJECT = """\
[project]
name = "mask-digits"
version = "0.3"
dependencies = ["maskkit"]
[project.entry-points.maskkit]
digits = "mask_digits"
"""

CODE = """\
import maskkit
class Digits(maskkit.Strategy):
    "Train the digits of what the model generates."
    name = "digits"
    def weights(self, tokens):
        return tokens.matching("[0-9]+", within=("answer", "reasoning"))

@maskkit.hookimpl
def maskkit_strategies():
    return [Digits]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package installed in it, as pip installs it."""
    folder = tmp_path_factory.mktemp("stranger")
    source, target = folder / "source", folder / "site"
    source.mkdir()
    (source / "pyproject.toml").write_text(PYPROJECT)
    (source / "mask_digits.py").write_text(CODE)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(target), str(source)], check=True)
    return target


def maskkit(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site), "HF_HUB_OFFLINE": "1"}
    return subprocess.run([sys.executable, "-m", "maskkit", *arguments], cwd=site, env=environment, capture_output=True, text=True)


def test_it_is_so_small():
    assert len(PYPROJECT.splitlines()) == 6
    assert len([line for line in CODE.splitlines() if line]) <= 10


def test_it_is_listed(site: Path):
    done = maskkit(site, "strategies", "--json")
    assert done.returncode == 0, done.stderr
    listed = {row["name"]: row for row in json.loads(done.stdout)}
    assert listed["digits"]["origin"] == "mask-digits"
    assert listed["digits"]["doc"] == "Train the digits of what the model generates."


def test_a_config_uses_it_by_name(site: Path, tmp_path: Path):
    run = tmp_path / "run"
    settings = ["strategy=digits", "training.max_steps=2", f"output_dir={run}", "answers.count=0"]
    done = maskkit(site, "train", "quickstart", *(word for setting in settings for word in ("--set", setting)))
    assert done.returncode == 0, done.stderr
    assert "strategy: digits" in (run / "config.yaml").read_text()

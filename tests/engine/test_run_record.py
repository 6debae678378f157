"""run.json says what a run was made of, and differs where the run would."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess

import pytest
import torch

import maskkit
from maskkit.engine import train
from maskkit.engine.run_record import fingerprint, git_state
from tests.engine.runs import config
from tests.reference import as_example, ragged_rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def record(folder):
    result = train(config(folder, training={"max_steps": 1}, answers={"count": 0}), progress=False)
    return json.loads((result.output_dir / "run.json").read_text())


def test_versions_are_those_in_use(record):
    assert record["versions"]["maskkit"] == maskkit.__version__
    assert record["versions"]["torch"] == torch.__version__
    assert record["versions"]["python"] == platform.python_version()
    assert record["platform"] == platform.platform()


def test_files_are_named_with_their_size_and_content(record, folder):
    content = (folder / "rows.jsonl").read_bytes()
    assert record["files"] == [{"path": str(folder / "rows.jsonl"), "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}]
    assert record["train"]["count"] + record["held_out"]["count"] == 24


def test_the_config_is_the_one_that_was_run(record, folder):
    assert maskkit.RunConfig.from_mapping(record["config"]) == maskkit.RunConfig.load(folder / "run" / "config.yaml")


def test_a_fingerprint_changes_with_rows_order_tokens_and_weights():
    rows = [as_example(row, f"row {number}") for number, row in enumerate(ragged_rows(4))]
    whole = fingerprint(rows)
    assert whole == fingerprint(iter(rows))
    assert fingerprint(rows[:3])["rows"] != whole["rows"]
    assert fingerprint(rows[::-1])["tokens"] != whole["tokens"]
    heavier = [maskkit.Example(row.input_ids, row.loss_weights * 2, row.tokens) for row in rows]
    assert {name for name in whole if fingerprint(heavier)[name] != whole[name]} == {"weights"}


def test_the_state_of_a_repository(tmp_path):
    def git(*command):
        identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        return subprocess.run(["git", "-C", str(tmp_path), *identity, *command], check=True, capture_output=True, text=True).stdout

    assert git_state(tmp_path) is None
    git("init")
    assert git_state(tmp_path) is None
    (tmp_path / "a.txt").write_text("a")
    git("add", ".")
    git("commit", "-m", "first")
    assert git_state(tmp_path) == {"commit": git("rev-parse", "HEAD").strip(), "changed": False}
    (tmp_path / "a.txt").write_text("b")
    assert git_state(tmp_path)["changed"]

"""What cannot be written is one line with the option, the place and the reason, and nothing half-written is left."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.commands import refused

FULL = Path("/dev/full")
SMALL_FILES = "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
SMALL_FILES += "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); from maskkit.cli.main import run; sys.exit(run(sys.argv[1:]))"


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]
    (tmp_path / "rows.jsonl").write_text(json.dumps({"messages": messages}) + "\n")
    (tmp_path / "run.yaml").write_text("model: tiny\ndata: {train: rows.jsonl, eval: rows.jsonl}\noutput_dir: out\n")
    return "rows.jsonl"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("preview", "rows.jsonl", "-m", "tiny", "--html", "rows.jsonl/page.html"), "--html 'rows.jsonl/page.html' cannot be written: "),
        (("preview", "rows.jsonl", "-m", "tiny", "--html", "."), "--html '.' cannot be written: Is a directory"),
        (("prepare", "rows.jsonl", "-m", "tiny", "-o", "rows.jsonl"), "--output 'rows.jsonl' is a file, expected a folder"),
        (("prepare", "rows.jsonl", "-m", "tiny", "-o", "rows.jsonl/x"), "--output 'rows.jsonl/x' cannot be written: Not a directory"),
        (("new", "config", "rows.jsonl", "-m", "tiny", "-o", "rows.jsonl/c.yaml"), "--output 'rows.jsonl/c.yaml' cannot be written: "),
        (
            ("compare", "run.yaml", "-o", "rows.jsonl", "--strategies", "causal,weighted"),
            "--output 'rows.jsonl' cannot be written: File exists",
        ),
    ],
)
def test_a_place_that_cannot_be_written(rows: str, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str):
    said = refused(capsys, *arguments)
    assert said.startswith(says)
    assert said.endswith("choose another place")
    assert sorted(path.name for path in Path().iterdir()) == ["rows.jsonl", "run.yaml"]


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
def test_output_that_finds_the_disk_full(rows: str):
    with FULL.open("w") as full:
        command = [sys.executable, "-m", "maskkit", "strategies", "--json"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (2, "error: the output: No space left on device: make room\n")


def test_a_page_that_does_not_fit_is_not_left_half(rows: str, tmp_path: Path):
    command = [sys.executable, "-c", SMALL_FILES, "preview", rows, "--model", "tiny", "--html", "page.html"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "error: --html 'page.html' cannot be written: File too large; choose another place\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.jsonl", "run.yaml"]


def test_a_package_that_does_not_fit_is_not_left_half(tmp_path: Path):
    command = [sys.executable, "-c", SMALL_FILES, "new", "plugin", "mine", "-o", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"error: --output '{tmp_path / 'maskkit-mine'}' cannot be written: File too large; choose another place\n"
    assert not list(tmp_path.iterdir())

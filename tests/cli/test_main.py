"""Help, versions, exit statuses, single-line errors, and how little the light commands import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import maskkit
from maskkit.cli.main import run
from maskkit.errors import StrategyError, TrainingError
from tests.cli.commands import call, refused, spawn

HEAVY = ("numpy", "torch", "transformers", "datasets", "pyarrow", "rich")


def test_help_shows_the_commands_in_the_order_of_first_steps(capsys: pytest.CaptureFixture[str]):
    done = call(capsys)
    assert done.status == 0
    assert done.out == call(capsys, "--help").out
    places = [done.out.index(f"\n  {name} ") for name in ("train", "preview", "strategies", "new", "plugins")]
    assert places == sorted(places)


def test_version(capsys: pytest.CaptureFixture[str]):
    assert call(capsys, "--version").out == f"maskkit {maskkit.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nonsense",), "No such command 'nonsense'"),
        (("trian", "x.yaml"), "Did you mean 'train'?"),
        (("preview",), "Missing argument 'CONFIG|DATA'"),
        (("train", "x.yaml", "--st", "a=b"), "No such option"),
        (("new",), "Missing command"),
        (("new", "config", "x.jsonl"), "Missing option '--model'"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str):
    assert said in refused(capsys, *arguments)


@pytest.mark.parametrize(("error", "status"), [(TrainingError("no loss"), 1), (StrategyError("nan"), 1), (KeyError("x"), 1)])
def test_a_failed_run_is_status_1(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception, status: int):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("maskkit.plugins.plugin_rows", fail)
    done = call(capsys, "plugins")
    assert (done.status, done.out) == (status, "")
    assert len(done.err.splitlines()) == 1
    with pytest.raises(type(error)):
        run(["plugins", "--debug"])


def test_an_interrupted_run_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("maskkit.plugins.plugin_rows", interrupt)
    done = call(capsys, "plugins")
    assert (done.status, done.err) == (130, "error: interrupted\n")


def test_what_an_error_quotes_cannot_reach_the_terminal(capsys: pytest.CaptureFixture[str]):
    assert "␛]0;" in refused(capsys, "preview", "\x1b]0;x.jsonl", "--model", "tiny")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["strategies"], ["strategies", "--json"], ["strategies", "show", "weighted"], ["plugins"]]
)
def test_light_commands_import_nothing_heavy_and_are_quick(arguments: list[str]):
    code = (
        "import sys, time; from maskkit.cli.main import run; status = run(sys.argv[1:]);"
        "print(status, time.process_time(), *sys.modules, file=sys.stderr)"
    )
    environment = {**os.environ, "MASKKIT_DISABLE_PLUGIN_AUTOLOAD": "1"}  # what others' plugins import is theirs
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, env=environment)
    status, seconds, *modules = done.stderr.splitlines()[-1].split()
    assert status == "0"
    assert not set(HEAVY) & set(modules)
    assert float(seconds) < 0.5


def test_the_module_runs_and_fails_in_one_line(tmp_path: Path):
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n' * 6 + '{"text": 3}\n', encoding="utf-8")
    (tmp_path / "run.yaml").write_text("model: tiny\ndata: {train: rows.jsonl}\nstrategy: causal\noutput_dir: out\n", encoding="utf-8")
    done = spawn(["train", "run.yaml"], tmp_path)
    assert done.status == 2
    assert done.err.splitlines()[-1] == "error: rows.jsonl:7: text is 3, expected text"
    assert "Traceback" not in done.err
    assert "Traceback" in spawn(["preview", "rows.jsonl", "--model", "tiny", "--row", "6", "--debug"], tmp_path).err


def test_a_warning_is_a_line_and_comes_once(tmp_path: Path):
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n', encoding="utf-8")
    code = "import maskkit\nclass All(maskkit.Strategy):\n    name = 'all'\n    def weights(self, tokens): return tokens.ids >= 0\n"
    (tmp_path / "mine.py").write_text(code, encoding="utf-8")
    done = spawn(["preview", "rows.jsonl", "-m", "tiny", "-s", "mine.py:All", "-s", "mine.py:All"], tmp_path)
    assert (done.status, done.err) == (0, "warning: strategy 'mine.py:All' executes the code in mine.py\n")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_early_is_no_error(unbuffered: str):
    command = f"{sys.executable} -m maskkit strategies --json | head -1; exit ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[\n", "")

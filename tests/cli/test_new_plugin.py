"""``maskkit new plugin``: what it writes installs in a fresh environment, is listed, trains, passes its own tests, and can be edited."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from maskkit.cli.new_plugin import class_name, files
from tests.cli.commands import Done, call, refused

FILES = ["pyproject.toml", "maskkit_my_mask.py", "README.md", "tests/test_maskkit_my_mask.py", ".github/workflows/tests.yml", ".gitignore"]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with what is installed here, and the package: written, and installed by pip to be edited."""
    folder = tmp_path_factory.mktemp("stranger")
    python = folder / "env" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
    libraries = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    fresh = Path(subprocess.run(libraries, capture_output=True, text=True, check=True).stdout.strip())
    (fresh / "here.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n", encoding="utf-8")
    new = [python, "-m", "maskkit", "new", "plugin", "my-mask"]
    done = subprocess.run(new, cwd=folder, capture_output=True, text=True, check=True)
    assert "pip install -e maskkit-my-mask" in done.stdout
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "-e", folder / "maskkit-my-mask"], check=True)
    return python


@pytest.fixture(scope="module")
def folder(python: Path) -> Path:
    """Where the stranger works."""
    return python.parent.parent.parent


def run(python: Path, *command: str, within: str = "") -> Done:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    folder = python.parent.parent.parent / within
    done = subprocess.run([python, "-m", *command], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return Done(done.returncode, done.stdout, done.stderr)


def test_every_file_is_written(folder: Path):
    folder = folder / "maskkit-my-mask"
    assert all((folder / file).read_text(encoding="utf-8").strip() for file in FILES)
    assert "@" not in (folder / "maskkit_my_mask.py").read_text(encoding="utf-8").replace("@maskkit.hookimpl", "")


def test_it_is_listed(python: Path):
    done = run(python, "maskkit", "strategies", "--json")
    info = next(info for info in json.loads(done.out) if info["name"] == "my-mask")
    assert (info["origin"], info["version"]) == ("maskkit-my-mask", "0.1.0")
    assert run(python, "maskkit", "strategies", "show", "my-mask").out.startswith("my-mask (maskkit-my-mask 0.1.0)")


def test_it_passes_its_own_tests(python: Path):
    done = run(python, "pytest", "-q", "-p", "no:cacheprovider", "maskkit-my-mask/tests")
    assert "13 passed" in done.out, done.out


ROW = {"messages": [{"role": "user", "content": "2 + 3?"}, {"role": "assistant", "content": "5"}]}
CONFIG = """\
model: tiny
data: {train: rows.jsonl, eval: null}
strategy: {name: my-mask, stop: 0.5}
training: {max_steps: 2, per_device_train_batch_size: 1, log_kinds_every: 0}
output_dir: run
"""


def test_it_previews_lints_and_trains_by_name(python: Path, folder: Path):
    (folder / "rows.jsonl").write_text(json.dumps(ROW) + "\n", encoding="utf-8")
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    done = run(python, "maskkit", "preview", "config.yaml")
    assert done.status == 0, done.err
    assert re.search(r"^stop +1 +100% +0\.5$", done.out, re.M), done.out
    assert run(python, "maskkit", "lint", "config.yaml").status == 0
    done = run(python, "maskkit", "train", "config.yaml")
    assert done.status == 0, done.err
    record = json.loads((folder / "run" / "run.json").read_text(encoding="utf-8"))
    assert record["strategies"] == {"my-mask": "maskkit-my-mask 0.1.0"}


def test_an_edit_takes_effect_at_once(python: Path, folder: Path):
    module = folder / "maskkit-my-mask" / "maskkit_my_mask.py"
    written = module.read_text(encoding="utf-8")
    module.write_text(written.replace('tokens.where(kind="answer")', 'tokens.matching("[0-9]", within="answer")'), encoding="utf-8")
    row = {"messages": [{"role": "user", "content": "2 + 3?"}, {"role": "assistant", "content": "It is 5."}]}
    (folder / "edited.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    try:
        done = run(python, "maskkit", "preview", "edited.jsonl", "--model", "tiny", "--strategy", "my-mask")
    finally:
        module.write_text(written, encoding="utf-8")
    assert re.search(r"^answer +1 +1 5$", done.out, re.M), done.out + done.err
    assert re.search(r"^answer +0 +\d+ It is $", done.out, re.M), done.out


def test_it_is_as_clean_as_maskkit(python: Path):
    pytest.importorskip("ruff", reason="ruff is not installed")
    done = run(python, "ruff", "check", "--isolated", "--select", "E,F,W,I,UP,B", "--line-length", "120", ".", within="maskkit-my-mask")
    assert done.status == 0, done.out


def test_nothing_is_overwritten(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    (tmp_path / "maskkit-mine").mkdir()
    (tmp_path / "maskkit-mine" / "README.md").write_text("mine")
    assert "already exists, and nothing is overwritten" in refused(capsys, "new", "plugin", "mine", "-o", str(tmp_path))
    assert [path.name for path in (tmp_path / "maskkit-mine").iterdir()] == ["README.md"]
    assert "there is no folder" in refused(capsys, "new", "plugin", "mine", "-o", str(tmp_path / "absent"))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("My Mask", "Did you mean 'my-mask'?"), ("a--b", "Did you mean 'a-b'?"), ("日本", "expected lower-case"),
        ("", "expected lower-case"),
        ("../up", "Did you mean 'up'?"), ("weighted", "'weighted' is a built-in strategy"),
    ],
)  # fmt: skip
def test_a_name_that_cannot_be(capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, says: str):
    assert says in refused(capsys, "new", "plugin", name, "-o", str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_the_prefix_may_be_given(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    assert call(capsys, "new", "plugin", "maskkit-mine", "-o", str(tmp_path)).status == 0
    assert [path.name for path in tmp_path.iterdir()] == ["maskkit-mine"]


@pytest.mark.parametrize(("name", "expected"), [("my-mask", "MyMask"), ("3d", "Mask3d"), ("none", "MaskNone"), ("a1-b2", "A1B2")])
def test_every_name_makes_a_class(name: str, expected: str):
    assert class_name(name) == expected
    for path, text in files(name).items():
        if path.endswith(".py"):
            ast.parse(text)

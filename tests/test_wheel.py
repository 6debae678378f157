"""A wheel that is built and unpacked elsewhere works, with all the data it needs."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's files in it, as an installer leaves them."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = (folder / "dist").glob("maskkit-*.whl")
    assert wheel.stat().st_size < 1_500_000
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def test_it_carries_types_licence_and_data(site: Path):
    for name in ("py.typed", "embedded/quickstart.yaml", "embedded/data/quickstart.jsonl.gz", "embedded/tokenizer/chat_template.jinja"):
        assert (site / "maskkit" / name).is_file(), name
    assert list(site.glob("maskkit-*.dist-info/licenses/LICENSE"))
    assert not {path.name for path in site.iterdir()} & {"tests", "plugins", "examples"}


def test_it_trains_without_the_repository(site: Path, tmp_path: Path):
    code = f"""
import sys
sys.path.insert(0, {str(site)!r})
import maskkit
assert maskkit.__file__.startswith({str(site)!r}), maskkit.__file__
settings = ["training.max_steps=1", "training.per_device_train_batch_size=2", "data.eval=0.001", "answers.count=0", "output_dir=run"]
result = maskkit.train(maskkit.RunConfig.load("quickstart", settings), progress=False)
print(result.steps, len(maskkit.strategies()) >= 4)
"""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "MASKKIT_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "True"]
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()

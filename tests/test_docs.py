"""What README and docs show is what happens: every example is run and its output compared.

A ```python block followed by a ```text block is a program and its output. In a ```console block each line that starts with ``$ `` is a
command and what follows its output; ``...`` on a line of its own stands for any lines. A block with ``title=FILE`` is a file that later
commands of the page find.

    python -m tests.test_docs            writes what happens now into the pages; read the difference before you commit it
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)(?: title=(\S+))?\n(.*?)^```", re.S | re.M)


@dataclass
class Page:
    """The runnable parts of one page, in order."""

    files: dict[str, str] = field(default_factory=dict)
    programs: list[tuple[str, str]] = field(default_factory=list)
    commands: list[tuple[str, str]] = field(default_factory=list)


def read(path: Path) -> Page:
    page, previous = Page(), ("", "")
    for language, title, body in BLOCK.findall(path.read_text(encoding="utf-8")):
        if title:
            page.files[title] = body
        elif language == "console":
            page.commands += commands_of(body)
        elif language == "text" and previous[0] == "python":
            page.programs.append((previous[1], body))
        previous = (language if not title else "", body)
    return page


def commands_of(block: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for line in block.splitlines(keepends=True):
        if line.startswith("$ "):
            pairs.append((line[2:].strip(), ""))
        else:
            pairs[-1] = (pairs[-1][0], pairs[-1][1] + line)
    return pairs


def environment() -> dict[str, str]:
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {
        **os.environ,
        "PATH": paths,
        "COLUMNS": "100",
        "NO_COLOR": "1",
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_OFFLINE": "1",
        "MASKKIT_DISABLE_PLUGIN_AUTOLOAD": "1",
    }


def run(command: list[str] | str, folder: Path) -> str:
    done = subprocess.run(
        command,
        shell=isinstance(command, str),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    return done.stdout


def same(expected: str, actual: str) -> bool:
    """Equal but for trailing spaces; a line ``...`` matches any lines."""
    parts = [re.escape("\n".join(line.rstrip() for line in part.split("\n"))) for part in re.split(r"^\.\.\.\n", expected, flags=re.M)]
    lines = "\n".join(line.rstrip() for line in actual.split("\n"))
    return re.fullmatch("(?:.*\n)*?".join(parts), lines) is not None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder with the repository's examples in it."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_what_the_page_shows_is_what_happens(path: Path, folder: Path):
    page = read(path)
    for name, body in page.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(body, encoding="utf-8")
    for program, expected in page.programs:
        actual = run([sys.executable, "-c", program], folder)
        assert same(expected, actual), f"{path.name} shows\n{expected}\nbut this happens:\n{actual}"
    for command, expected in page.commands:
        actual = run(command, folder)
        assert same(expected, actual), f"{path.name}: $ {command}\nshows\n{expected}\nbut this happens:\n{actual}"


def test_the_readme_has_examples():
    page = read(ROOT / "README.md")
    assert page.programs
    assert page.commands


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_every_finding_is_documented():
    from maskkit.inspect.lint.catalogue import updated as with_codes

    page = (ROOT / "docs" / "lint.md").read_text(encoding="utf-8")
    assert page == with_codes(page), "python -m maskkit.inspect.lint.catalogue docs/lint.md"


def updated(text: str, folder: Path) -> str:
    """The page with the output that its examples give now; an output shortened by ``...`` stays as it is if it still fits."""
    previous = ("", "")

    def block(match: re.Match[str]) -> str:
        nonlocal previous
        (language, title, body), before = match.groups(), previous
        previous = (language if not title else "", body)
        if title:
            (folder / title).parent.mkdir(parents=True, exist_ok=True)
            (folder / title).write_text(body, encoding="utf-8")
        elif language == "console":
            parts = [(command, output, run(command, folder)) for command, output in commands_of(body)]
            body = "".join(f"$ {command}\n{shown if same(shown, actual) else actual}" for command, shown, actual in parts)
        elif language == "text" and before[0] == "python":
            actual = run([sys.executable, "-c", before[1]], folder)
            body = body if same(body, actual) else actual
        return f"```{language}{f' title={title}' if title else ''}\n{body}```"

    return BLOCK.sub(block, text)


def main() -> None:
    for path in PAGES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            shutil.copytree(ROOT / "examples", folder / "examples")
            path.write_text(updated(path.read_text(encoding="utf-8"), folder), encoding="utf-8")


if __name__ == "__main__":
    main()

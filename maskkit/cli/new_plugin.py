"""``maskkit new plugin``: a package with a strategy of one's own, which installs, is listed and passes its tests as it is written."""

from __future__ import annotations

import keyword
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from maskkit.cli.output import writable
from maskkit.cli.plugin_files import FILES
from maskkit.errors import ConfigError, suggest


def plugin(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the strategy: lower-case letters, digits and hyphens.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="FOLDER", help="Folder to put the package in.")] = ".",
) -> None:
    """Write a package with a strategy NAME: module, tests with the conformance kit, README, pyproject and a file for CI."""
    name = name.removeprefix("maskkit-")
    check_name(name)
    folder = Path(output) / f"maskkit-{name}"
    if folder.exists():
        raise ConfigError(f"{folder} already exists, and nothing is overwritten: choose another name, or another folder with -o")
    if not Path(output).is_dir():
        raise ConfigError(f"there is no folder {output} to put the package in")
    with writable("--output", folder):
        try:
            _write(folder, files(name))
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    print(f"wrote {folder}: {', '.join(files(name))}")
    print(f"next:  pip install -e {folder}  and  maskkit strategies show {name}  and  pytest {folder}")


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        with (folder / path).open("x", encoding="utf-8") as file:
            file.write(text)


def check_name(name: str) -> None:
    """Raises ConfigError for a name that configs cannot hold, or that is taken by a strategy that is installed."""
    from maskkit.plugins import NAME, strategies

    if not NAME.match(name):
        raise ConfigError(f"the name is {name!r}, expected lower-case letters, digits and single hyphens, such as my-mask.{_near(name)}")
    taken = next((info.origin for info in strategies() if info.name == name), None)
    if taken is not None:
        whose = "a built-in strategy" if taken == "maskkit" else f"a strategy of {taken}, which is installed"
        raise ConfigError(f"{name!r} is {whose}: choose another name")


def files(name: str) -> dict[str, str]:
    """The files of the package, by path."""
    module = f"maskkit_{name.replace('-', '_')}"
    words = {"@name@": name, "@module@": module, "@class@": class_name(name)}

    def filled(text: str) -> str:
        for word, value in words.items():
            text = text.replace(word, value)
        return text

    return {filled(path): filled(text) for path, text in FILES.items()}


def class_name(name: str) -> str:
    """``my-mask`` -> ``MyMask``."""
    camel = "".join(word.capitalize() for word in name.split("-"))
    return camel if camel.isidentifier() and not keyword.iskeyword(camel) else f"Mask{camel}"


def _near(name: str) -> str:
    """A name that would do."""
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower())
    near = "-".join(filter(None, kept.split("-")))
    return suggest(near, [near]).partition(" Available")[0] if near else ""

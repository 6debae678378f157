"""The picture of a page in the docs can be drawn again."""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "docs" / "make_page_picture.py"


def size(file: Path) -> tuple[int, int]:
    """Width and height of a PNG."""
    data = file.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def test_the_picture_is_drawn_from_a_page_without_errors(tmp_path: Path):
    spec = importlib.util.spec_from_file_location("make_page_picture", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.draw(tmp_path / "page.png") == []
    assert size(tmp_path / "page.png") == size(module.TARGET) == (module.WIDTH, module.HEIGHT)

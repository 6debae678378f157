"""The picture in the README shows what the strategies do now."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from xml.etree import ElementTree

SCRIPT = Path(__file__).parent.parent / "docs" / "make_picture.py"


def test_the_picture_is_what_the_strategies_do():
    spec = importlib.util.spec_from_file_location("make_picture", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    drawn = module.draw()
    ElementTree.fromstring(drawn)
    assert drawn == module.TARGET.read_text(encoding="utf-8"), "run  python docs/make_picture.py"

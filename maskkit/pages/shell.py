"""What every page has: one file that needs no network, colours for light and dark, a header, and no script but our own.

    render("preview.html", style="preview.css", script="preview.js", title="preview", ...)

A page's template extends ``shell.html``. Whatever comes from data is escaped by Jinja; a content security policy allows no other script
than the one whose hash it names, and no request at all.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import maskkit
from maskkit.pages.colors import style_sheet

FOLDER = Path(__file__).with_name("templates")


def render(template: str, *, title: str, style: str = "", script: str = "", **context: Any) -> str:
    """The page as HTML.

    template, style, script: names of files in `FOLDER`; the last two may be left out. title: of the page. context: for the template.
    """
    code = _source(script) if script else ""
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    policy = ["default-src 'none'", "style-src 'unsafe-inline'", "img-src data:", "base-uri 'none'", "form-action 'none'"]
    return (
        _environment()
        .get_template(template)
        .render(
            title=title,
            policy="; ".join([*policy, f"script-src 'sha256-{digest}'"] if code else policy),
            style=Markup("\n".join([style_sheet(), _source("shell.css"), _source(style) if style else ""])),
            script=Markup(code),
            version=maskkit.__version__,
            **context,
        )
    )


@cache
def _environment() -> Environment:
    return Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


@cache
def _source(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")

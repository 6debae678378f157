"""Pages: one HTML file each, which opens anywhere, without a network and without scripts.

`shell` is what all pages share, `colors` and `figures` draw; `preview` is the page of ``maskkit preview --html``.
"""

from __future__ import annotations

from maskkit.inspect.page.preview import preview_page
from maskkit.inspect.page.shell import render

__all__ = ["preview_page", "render"]

"""Pages about data and strategies, each in the shell of `maskkit.pages`: of ``maskkit preview --html`` and ``maskkit compare``."""

from __future__ import annotations

from maskkit.inspect.page.preview import preview_page

__all__ = ["preview_page"]

"""One colour per kind, for every picture: terminal, page and drawing. (Kept below the engine, whose loss curves use it too.)"""

from __future__ import annotations

from maskkit.palette import KIND_COLORS

__all__ = ["KIND_COLORS"]

"""What pages and terminals share: the shell of every page, its colours, and text in which everything can be seen.

A page is one HTML file that opens anywhere, without a network and without scripts.
"""

from __future__ import annotations

from maskkit.pages.shell import render

__all__ = ["render"]

"""Record in, Example out.

`masker` tells the whole path. What it is made of, in the order of the path: `excerpt` (which messages make an example), `tabulate` (render,
encode, attribute), `plain` (rows without a chat template), `encoder` with `control` and `stand_ins` (text to ids, and control tokens that a
row only typed), `truncation`, `never_trained` (what weighs 0 whatever the strategy says), `example`.
"""

from __future__ import annotations

from maskkit.masker.control import ControlTokens
from maskkit.masker.encoder import CONTROL_TOKENS
from maskkit.masker.example import IGNORE, Example
from maskkit.masker.masker import HISTORIES, Masker, Tables
from maskkit.masker.tabulate import Table
from maskkit.masker.truncation import TRUNCATIONS

__all__ = ["CONTROL_TOKENS", "HISTORIES", "IGNORE", "TRUNCATIONS", "ControlTokens", "Example", "Masker", "Table", "Tables"]

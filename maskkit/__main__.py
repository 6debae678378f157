"""``python -m maskkit``."""

from __future__ import annotations

import sys

from maskkit.cli.main import run

sys.exit(run())

"""Encode and weigh a data set once, for any trainer: ids, weights and kinds as Parquet files, with a manifest of how they were made."""

from __future__ import annotations

from maskkit.prepare.prepare import Prepared, prepare
from maskkit.prepare.settings import Settings

__all__ = ["Prepared", "Settings", "prepare"]

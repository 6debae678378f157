"""An example as a few bytes, for keeping many of them in memory and for handing them from process to process.

A token table is wide: ten columns, the rendered text, the row itself, as much as 170 bytes a token where rows are short. Most of that is
alike from token to token, so that it takes an eighth of it or less when compressed. Nothing of the kind is ever read from a file.
"""

from __future__ import annotations

import pickle
import zlib

from maskkit.masker.example import Example


def stored(example: Example) -> bytes:
    """The example, token table and record included."""
    return zlib.compress(pickle.dumps(example, protocol=5), level=1)


def restored(content: bytes) -> Example:
    """The example that `stored` was given. Takes bytes of this program's own making only: unpickling others' may run their code."""
    example: Example = pickle.loads(zlib.decompress(content))
    return example

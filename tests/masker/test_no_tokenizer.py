"""What is given in place of a tokenizer is called by its name, with what to pass instead."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import maskkit
from maskkit import embedded

ROWS = [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}]
TINY = embedded.tiny_tokenizer()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("tiny", r"^tokenizer is the name 'tiny', expected a tokenizer itself: pass load_tokenizer\('tiny'\) of maskkit\.models$"),
        ("Qwen/Qwen3-8B", r"^tokenizer is the name .*: pass transformers\.AutoTokenizer\.from_pretrained\('Qwen/Qwen3-8B'\)$"),
        (Path("models/mine"), r"^tokenizer is the name .*: pass transformers\.AutoTokenizer\.from_pretrained\('models/mine'\)$"),
        (
            SimpleNamespace(tokenizer=TINY),
            r"^tokenizer is a SimpleNamespace, expected a tokenizer: pass the one it holds, its \.tokenizer$",
        ),
        (None, r"^tokenizer is None, expected a fast one of transformers: pass transformers\.AutoTokenizer\.from_pretrained\(NAME\)$"),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "call", [maskkit.preview, maskkit.lint, lambda rows, it: maskkit.explain(rows, it, token=1)], ids=["preview", "lint", "explain"]
)
def test_what_is_no_tokenizer_is_told_with_what_to_pass(call: Any, given: Any, says: str):
    with pytest.raises(maskkit.TokenizerError, match=says):
        call(ROWS, given)


def test_what_to_pass_works():
    from maskkit.models import load_tokenizer

    assert maskkit.preview(ROWS, load_tokenizer("tiny")).rows

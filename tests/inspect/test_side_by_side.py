"""Several strategies in a terminal: one column each, inside its width."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

import maskkit
from maskkit import embedded
from maskkit.inspect.side_by_side import names, runs_of
from maskkit.inspect.terminal import draw

ROW = {
    "messages": [{"role": "user", "content": "長い文" * 40}, {"role": "assistant", "reasoning_content": "r " * 50, "content": "word " * 60}]
}
STRATEGIES = ["causal", "assistant-only", {"name": "weighted", "reasoning": 0.25}]
PREVIEW = maskkit.preview([ROW], embedded.tiny_tokenizer(), strategies=STRATEGIES)


def drawn(width: int, *, weights: bool = True) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width)
    for line in draw(PREVIEW, weights=weights, width=width):
        console.print(line, soft_wrap=True)
    return out.getvalue().splitlines()


def test_runs_are_cut_where_any_strategy_changes():
    runs = list(runs_of(PREVIEW.rows))
    assert [run.weights for run in runs if run.kind == "reasoning"] == [(1.0, 1.0, 0.25)]
    assert [run.differs for run in runs if run.kind == "answer"] == [False]
    assert sum(len(piece.ids) for run in runs for piece in run.pieces) == PREVIEW.rows[0].tokens


@pytest.mark.parametrize("width", [80, 120])
def test_it_stays_inside_the_terminal(width: int):
    assert max(cell_len(line) for line in drawn(width)[1:]) <= width
    assert "長い文" in "".join(drawn(width))


def test_flowing_text_stands_one_under_another():
    lines = drawn(80, weights=False)
    assert sum(line.startswith("row 0, strategy ") for line in lines) == 3


def test_letters_never_end():
    assert names(28)[-3:] == ["Z", "AA", "BB"]

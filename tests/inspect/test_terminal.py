"""The drawing: colour by kind, fill by weight, figures without colour, and nothing of the data that a terminal obeys."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

import maskkit
from maskkit import embedded
from maskkit.inspect.looks import figure, style
from maskkit.inspect.terminal import draw
from maskkit.kinds import KINDS

TOKENIZER = embedded.tiny_tokenizer()
NASTY = "日本\x1b[31m\x00\u202e👨‍👩‍👧\nend"
ROW: dict[str, Any] = {"messages": [{"role": "user", "content": NASTY}, {"role": "assistant", "reasoning_content": "r", "content": "a"}]}
WEIGHTED = {"name": "weighted", "reasoning": 0.25, "answer": 1.0}


def drawn(row: dict[str, Any] = ROW, *, weights: bool, color: bool = False, width: int | None = None, **options: Any) -> str:
    preview = maskkit.preview([row], TOKENIZER, tokenizer_name="tiny", **({"strategy": WEIGHTED} | options))
    out = io.StringIO()
    console = Console(file=out, force_terminal=color, color_system="truecolor" if color else None, width=width or 80)
    for line in draw(preview, weights=weights, width=width):
        console.print(line, soft_wrap=True)
    return out.getvalue()


def test_the_first_line_names_tokenizer_template_and_strategy():
    first = drawn(weights=True).splitlines()[0]
    assert re.match(r"tokenizer tiny, template sha256:[0-9a-f]{12}, strategy \{name: weighted, .*reasoning: 0\.25", first)


def test_without_colour_every_run_stands_with_kind_weight_and_tokens():
    lines = drawn(weights=True).splitlines()
    runs = [line.split()[:2] for line in lines if line.split()[:1] and line.split()[0] in KINDS]
    assert ["reasoning", "0.25"] in runs
    assert ["answer", "1"] in runs
    assert ["user", "0"] in runs


def test_totals_of_each_kind_and_of_the_row():
    output = drawn(weights=True)
    assert re.search(r"^kind +tokens +trained +sum of weights$", output, re.M)
    assert re.search(r"^answer +\d+ +100% +\d+$", output, re.M)
    assert re.search(r"^user +\d+ +0% +0$", output, re.M)
    assert re.search(r"^all +\d+ +\d+% +[\d.]+$", output, re.M)


@pytest.mark.parametrize("weights", [True, False])
def test_the_data_moves_no_terminal(weights: bool):
    output = drawn(weights=weights)
    assert "日本␛[31m␀⟨U+202E⟩👨‍👩‍👧⏎\n" in output
    assert "\x1b" not in output
    assert "\x00" not in output
    colored = drawn(weights=weights, color=True)
    assert not re.findall(r"\x1b\[31m|\x00|\u202e", colored)


def test_emoji_and_ideographs_are_not_cut_by_colour():
    assert "👨‍👩‍👧" in drawn(weights=False, color=True)
    assert "日本" in drawn(weights=False, color=True)


def test_flowing_text_has_its_figures_only_in_the_legend():
    text, legend = drawn(weights=False).split("\n\nweights ")
    assert "0.25" not in text.partition("\n")[2]
    assert legend.split("\n")[0].split()[:3] == ["0", "0.25", "1"]


@pytest.mark.parametrize("width", [80, 120])
def test_listed_text_is_wrapped_inside_the_terminal(width: int):
    row = {"messages": [{"role": "user", "content": "長い文" * 60}, {"role": "assistant", "content": "word " * 60}]}
    assert max(cell_len(line) for line in drawn(row, weights=True, width=width).splitlines()[1:]) <= width
    assert "長い文" * 60 in drawn(row, weights=True, width=None)


def test_findings_stand_under_their_row():
    assert re.search(r"^! truncated: .*max_length is 5", drawn(weights=True, max_length=5), re.M)


def test_what_counts_has_a_ground_and_what_does_not_is_dim():
    assert style("answer", 0, 1).startswith("dim ")
    assert " on #" in style("answer", 1, 1)
    assert style("answer", 0.1, 1) != style("answer", 1, 1)
    assert style("answer", 1, 1) != style("reasoning", 1, 1)
    assert style("answer", -1, 1).startswith("strike ")


@pytest.mark.parametrize(
    ("weight", "said"), [(0.0, "0"), (-0.0, "0"), (1.0, "1"), (0.30000001192092896, "0.3"), (1 / 3, "0.3333"), (1234.5, "1234")]
)
def test_a_weight_in_few_digits(weight: float, said: str):
    assert figure(weight) == said

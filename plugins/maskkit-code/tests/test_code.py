"""Each class of syntax has its weight, wherever the code stands and whatever the tokens are."""

import os

import numpy as np
import pytest

import maskkit
from maskkit import plugins
from maskkit.testing import StrategyConformance

if not any(row.origin == "maskkit-code" for row in plugins.plugin_rows()) and not os.environ.get("MASKKIT_REQUIRE_REAL"):
    pytest.skip("not installed: pip install ./plugins/maskkit-code", allow_module_level=True)

PYTHON = 'Here:\n```python\n# add one\ndef inc(x):\n    return x + 41  # done\n\nprint("hi")\n```\nThat is all.'


def weighed(tokenizer, answer: str, **options) -> dict[str, float]:
    """The weight of each token of the answer by its text; of equal ones that of the first."""
    row = {"messages": [{"role": "user", "content": "Code?"}, {"role": "assistant", "content": answer}]}
    example = maskkit.Masker(tokenizer, strategy={"name": "code", **options})(row)
    found: dict[str, float] = {}
    for t in np.flatnonzero(example.tokens.where(kind="answer")):
        found.setdefault(example.tokens.piece(t).strip() or example.tokens.piece(t), float(example.loss_weights[t]))
    return found


def weight_of(tokenizer, answer: str, text: str, **options) -> set[float]:
    """The weights of the tokens that touch a text of the answer."""
    row = {"messages": [{"role": "user", "content": "Code?"}, {"role": "assistant", "content": answer}]}
    example = maskkit.Masker(tokenizer, strategy={"name": "code", **options})(row)
    start = example.tokens.text.index(answer) + answer.index(text)
    touched = (example.tokens.char_start >= start) & (example.tokens.char_end <= start + len(text)) & (example.tokens.kind == "answer")
    assert touched.any(), f"no token lies inside {text!r}"
    return set(example.loss_weights[touched].tolist())


class TestConformance(StrategyConformance):
    strategy = "code"


class TestConformanceWithClasses(StrategyConformance):
    strategy = {"name": "code", "prose": 0.5, "comments": 0.0, "names": 2.0}  # noqa: RUF012 (a selection, as a config writes it)


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("comments", "# add one"),
        ("keywords", "return"),
        ("names", "inc"),
        ("numbers", "41"),
        ("operators", "+"),
        ("strings", '"hi"'),
        ("prose", "That is all."),
        ("prose", "Here:"),
    ],
)
def test_each_class_has_its_weight(tiny_tokenizer, option, text):
    assert weight_of(tiny_tokenizer, PYTHON, text, **{option: 3.0}) == {3.0}
    assert weight_of(tiny_tokenizer, PYTHON, text) == {1.0}


def test_a_class_without_a_weight_has_that_of_code(tiny_tokenizer):
    assert weight_of(tiny_tokenizer, PYTHON, "return", code=0.25) == {0.25}
    assert weight_of(tiny_tokenizer, PYTHON, "return", code=0.25, keywords=0.0) == {0.0}


@pytest.mark.parametrize("fence", ["```", "```no-such-language"])
def test_code_in_an_unknown_language_is_code(tiny_tokenizer, fence):
    answer = f"{fence}\nreturn 41\n```"
    assert weight_of(tiny_tokenizer, answer, "return 41", code=0.5, numbers=9.0, keywords=9.0) == {0.5}


def test_other_languages_and_fences(tiny_tokenizer):
    rust = "~~~rust\n// note\nfn main() { let x = 7; }\n~~~\n"
    assert weight_of(tiny_tokenizer, rust, "note", comments=0.0) == {0.0}
    assert weight_of(tiny_tokenizer, rust, "7", numbers=4.0) == {4.0}


def test_a_fence_that_is_never_closed_goes_on_to_the_end(tiny_tokenizer):
    assert weight_of(tiny_tokenizer, "```python\nx = 41", "41", numbers=4.0) == {4.0}


def test_code_cut_off_with_its_row_is_read_whole(tiny_tokenizer):
    row = {"messages": [{"role": "user", "content": "Code?"}, {"role": "assistant", "content": '```python\n"""long\ntext"""\nx = 1\n```'}]}
    options = {"name": "code", "comments": 0.0, "strings": 5.0}
    whole = maskkit.Masker(tiny_tokenizer, strategy=options)(row)
    inside = int(np.flatnonzero(whole.tokens.matching("text"))[0]) + 1
    cut = maskkit.Masker(tiny_tokenizer, strategy=options, max_length=inside)(row)
    assert cut.loss_weights.tolist() == whole.loss_weights[:inside].tolist()


def test_no_token_is_left_without_the_weight_of_something_it_says(tiny_tokenizer):
    weights = set(weighed(tiny_tokenizer, PYTHON, prose=2.0, code=3.0, comments=4.0, whitespace=5.0).values())
    assert weights == {2.0, 3.0, 4.0, 5.0}

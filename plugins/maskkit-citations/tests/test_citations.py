"""What is quoted from the context is trained, what is made up is not."""

import os

import numpy as np
import pytest

import maskkit
from maskkit import plugins
from maskkit.testing import StrategyConformance

if not any(row.origin == "maskkit-citations" for row in plugins.plugin_rows()) and not os.environ.get("MASKKIT_REQUIRE_REAL"):
    pytest.skip("not installed: pip install ./plugins/maskkit-citations", allow_module_level=True)

CONTEXT = "The committee met on Tuesday.  It found that the bridge\nis safe for light traffic, and closed it to trucks."


def row(answer: str, context: str = CONTEXT, **more):
    return {"messages": [{"role": "user", "content": context}, {"role": "assistant", "content": answer}], **more}


def weighed(tokenizer, example_row, **options) -> dict[float, str]:
    """The text of the answer by weight."""
    example = maskkit.Masker(tokenizer, strategy={"name": "citations", **options})(example_row)
    answer = example.tokens.where(kind="answer")
    found = {}
    for weight in sorted(set(example.loss_weights[answer].tolist())):
        found[weight] = "".join(example.tokens.piece(t) for t in np.flatnonzero(answer & (example.loss_weights == weight)))
    return found


class TestConformance(StrategyConformance):
    strategy = "citations"


class TestConformanceWithShortQuotations(StrategyConformance):
    strategy = {"name": "citations", "found": 2.0, "unfounded": 0.5, "shortest": 1}  # noqa: RUF012 (a selection, as a config writes it)


def test_a_quotation_from_the_context_counts_and_a_made_up_one_does_not(tiny_tokenizer):
    answer = 'It says "the bridge is safe for light traffic" but also "it will be torn down soon".'
    found = weighed(tiny_tokenizer, row(answer), found=2.0)
    assert "the bridge is safe for light traffic" in found[2.0]
    assert "it will be torn down soon" in found[0.0]
    assert found[1.0].startswith("It says")
    assert "but also" in found[1.0]


@pytest.mark.parametrize(
    "quotation",
    [
        "“THE BRIDGE is safe for light traffic,”",
        "„is safe for light traffic“",
        "«The committee … closed it to trucks»",
        "<quote>met on Tuesday. It found</quote>",
        "> The committee met on Tuesday.",
    ],
)
def test_case_white_space_and_marks_make_no_difference(tiny_tokenizer, quotation):
    assert set(weighed(tiny_tokenizer, row(quotation), found=3.0, answer=0.0)) >= {3.0}


def test_omissions_keep_the_order(tiny_tokenizer):
    assert 3.0 not in weighed(tiny_tokenizer, row('"closed it to trucks ... The committee met"'), found=3.0)


def test_short_ones_are_words_not_quotations(tiny_tokenizer):
    assert set(weighed(tiny_tokenizer, row('They call it "Iron Bob".'))) == {1.0}
    assert 0.0 in weighed(tiny_tokenizer, row('They call it "Iron Bob".'), shortest=5)


def test_only_what_came_before_the_reply_can_be_quoted(tiny_tokenizer):
    later = row('You said "the weather was lovely".')
    later["messages"] += [{"role": "user", "content": "the weather was lovely"}, {"role": "assistant", "content": "Yes."}]
    assert 0.0 in weighed(tiny_tokenizer, later)


def test_documents_and_tool_results_can_be_quoted_and_roles_chosen(tiny_tokenizer):
    asked = row('It reads "no swimming after dark".', "What does the sign say?")
    assert 0.0 in weighed(tiny_tokenizer, asked)
    assert 0.0 not in weighed(tiny_tokenizer, {**asked, "documents": [{"title": "sign", "text": "No swimming after dark"}]})
    with_tool = {"messages": [asked["messages"][0], {"role": "tool", "content": "No swimming after dark"}, asked["messages"][1]]}
    assert 0.0 not in weighed(tiny_tokenizer, with_tool)
    assert 0.0 in weighed(tiny_tokenizer, with_tool, roles=["user"])


def test_a_prompt_can_be_quoted(tiny_tokenizer):
    found = weighed(
        tiny_tokenizer, {"prompt": "Repeat: all is well that ends well. ", "completion": '"All is well that ends well"'}, found=2.0
    )
    assert "All is well that ends well" in found[2.0]


def test_a_quotation_cut_off_with_its_row_is_judged_whole(tiny_tokenizer):
    made_up = row('It says "the bridge is safe for flying elephants".')
    whole = maskkit.Masker(tiny_tokenizer, strategy="citations")(made_up)
    inside = int(np.flatnonzero(whole.tokens.matching("for flying"))[0])
    cut = maskkit.Masker(tiny_tokenizer, strategy="citations", max_length=inside)(made_up)
    assert cut.loss_weights.tolist() == whole.loss_weights[:inside].tolist()

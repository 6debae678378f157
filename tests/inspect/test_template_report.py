"""What is found out about a chat template by trying it."""

from __future__ import annotations

import json

import pytest

from maskkit import embedded
from maskkit.errors import TemplateError
from maskkit.inspect.stand_in_tokenizer import stand_in_tokenizer
from maskkit.inspect.template_matrix import MATRIX, PLACES
from maskkit.inspect.template_report import TemplateReport, template_report
from tests.real import trl_template

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def report_on(template: str) -> TemplateReport:
    return template_report(stand_in_tokenizer(template))


def codes(report: TemplateReport) -> list[str]:
    return [finding.code for finding in report.findings]


def outcomes(report: TemplateReport) -> dict[str, str]:
    return {cell.conversation: cell.outcome for cell in report.cells}


def test_a_plain_template_has_nothing_to_tell() -> None:
    report = report_on(CHATML)
    assert report.attributable
    assert report.history == "appends"
    assert [(p.arguments, p.text, p.prefilled) for p in report.generation_prompts] == [("", "<|im_start|>assistant\n", "")]
    assert report.stop_tokens == report.known_stop_tokens == ("<|im_end|>",)
    assert report.findings == ()
    assert report.roles == {"user": "printed", "assistant": "printed", "system": "printed", "developer": "printed", "tool": "printed"}
    assert report.fields["tools"] == report.fields["reasoning_content"] == report.fields["documents"] == "not printed"
    assert report.fields["content in parts"] == "refused"
    assert outcomes(report) == {name: "refused" if name == "content in parts" else "exact" for name in MATRIX}


def test_a_template_that_strips_thinking_rewrites_history() -> None:
    report = report_on(trl_template("qwen3"))
    assert report.history == "rewrites"
    assert codes(report) == ["history-rewritten"]
    assert [(p.arguments, p.prefilled) for p in report.generation_prompts] == [
        ("", ""),
        ("enable_thinking: false", "<think>\n\n</think>\n\n"),
    ]
    assert report.fields["tool_calls"] == report.fields["reasoning_content"] == "printed"


def test_a_prefilled_tag_that_replies_do_not_have() -> None:
    report = report_on(trl_template("deepseek_r1_distill"))
    assert report.generation_prompts[0].prefilled == "<think>\n"
    assert "reply-differs" in codes(report)


def test_a_template_that_stops_with_the_next_role() -> None:
    report = report_on(trl_template("glm4moe"))
    assert report.stop_tokens == ("<|user|>", "<|observation|>")
    assert "no-stop" in codes(report)


def test_a_refusal_is_given_in_the_templates_words() -> None:
    report = report_on("{% if messages[0].role == 'system' %}{{ raise_exception('No system, please.') }}{% endif %}" + CHATML)
    (cell,) = [cell for cell in report.cells if cell.conversation == "system"]
    assert (cell.outcome, cell.reason) == ("refused", "No system, please.")
    assert report.roles["system"] == "refused"
    assert report.findings == ()


def test_text_that_cannot_be_followed_is_a_finding() -> None:
    report = report_on("{% for m in messages %}<|im_start|>{{ namespace(x=m.content) }}<|im_end|>{% endfor %}")
    assert not report.attributable
    assert "unknown-text" in codes(report)
    assert outcomes(report)["plain"] == "unknown"


def test_a_text_that_is_not_transformers_own_is_a_finding() -> None:
    report = report_on("{{ messages[0].items }}")
    assert not report.attributable
    assert outcomes(report)["plain"] == "different"
    assert codes(report) == ["different"]


def test_the_template_of_a_tokenizer_with_its_stop_tokens() -> None:
    tokenizer = embedded.tiny_tokenizer()
    report = template_report(tokenizer, stop_token_ids=[0])
    assert report.known_stop_tokens == (tokenizer.convert_ids_to_tokens(0), tokenizer.eos_token)
    assert report.attributable


def test_template_arguments_are_passed_on() -> None:
    report = template_report(stand_in_tokenizer(trl_template("qwen3")), template_kwargs={"enable_thinking": False})
    assert report.generation_prompts[0].prefilled == "<think>\n\n</think>\n\n"


def test_a_tokenizer_without_template() -> None:
    tokenizer = embedded.tiny_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(TemplateError, match="no chat template to check"):
        template_report(tokenizer)


def test_it_is_plain_json() -> None:
    report = report_on(CHATML)
    assert json.loads(json.dumps(report.to_json()))["cells"][0]["conversation"] == "plain"


def test_the_words_that_are_looked_for_stand_where_they_should() -> None:
    for name, (conversation, word) in PLACES.items():
        assert word in json.dumps(MATRIX[conversation]), name

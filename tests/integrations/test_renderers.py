"""A second opinion: the package ``renderers`` and maskkit over every family that both have, each difference with its reason."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import maskkit
from maskkit.chat import ChatRenderer
from tests.cli.commands import call, refused
from tests.integrations import renderer_families as families

if find_spec("renderers") is None:
    pytest.skip("the package renderers needs Python 3.11 or newer, and the extra 'renderers'", allow_module_level=True)

from renderers import Qwen3RendererConfig, RenderedTokens, config_from_name, create_renderer

from maskkit.integrations.renderers import REASONS, UNEXPLAINED, Comparison, Difference, compare
from maskkit.integrations.renderers.alignment import align

EXPECTED = families.expected()
CONVERSATION = {
    "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Which colour has the sky?"},
        {"role": "assistant", "content": "The sky is mostly blue."},
    ]
}

# -- the families -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", families.FAMILIES)
def test_every_difference_has_a_reason(name: str) -> None:
    found = families.comparison(name)
    assert [(row.source, row.unexplained) for row in found.rows if row.unexplained] == []
    assert [row.source for row in found.rows if not row.is_transformers] == []
    assert found.agrees
    if families.versions() == EXPECTED["versions"]:
        assert {row.source: families.found_in(row) for row in found.rows} == EXPECTED["families"][name]


def test_the_file_has_all_families_and_conversations() -> None:
    assert EXPECTED["families"].keys() == families.FAMILIES.keys()
    names = [record.source for record in families.records()]
    cells = [cell for told in EXPECTED["families"].values() for cell in told.values()]
    assert all(list(told) == names for told in EXPECTED["families"].values())
    assert sum(cell == "the same" for cell in cells) >= 70
    assert sum(isinstance(cell, dict) for cell in cells) >= 240
    told = {reason.partition(" ")[2] for cell in cells if isinstance(cell, dict) for reason in cell}
    assert told >= REASONS.keys() - {"typed-control", "not-known", UNEXPLAINED}
    assert UNEXPLAINED not in told


def test_a_mistake_of_maskkit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the comparison has found once: GLM's ``</arg_value>`` taken for a stop token, so that ``</tool_call>`` was not trained."""
    monkeypatch.setattr("maskkit.chat.markup._closes", lambda token, reply: False)
    found = families.comparison("glm-4.5")
    assert not found.agrees
    assert {d.text for row in found.rows for d in row.unexplained} >= {"\n</tool_call><|observation|>"}


# -- a renderer that is wrong ---------------------------------------------------------------------------------------


class Broken:
    """A renderer of the package whose result is changed."""

    def __init__(self, change: Callable[[RenderedTokens, list[str]], None], family: str = "qwen3") -> None:
        self._tokenizer = families.tokenizer_of(family)
        self._renderer, self._change = create_renderer(self._tokenizer, config_from_name(families.FAMILIES[family].renderer)), change

    def render(self, messages: list[Any], **options: Any) -> RenderedTokens:
        found = self._renderer.render(messages, **options)
        self._change(found, [self._tokenizer.decode([token]) for token in found.token_ids])
        return found


def difference_of(change: Callable[[RenderedTokens, list[str]], None]) -> Difference:
    found = compare(families.tokenizer_of("qwen3"), [CONVERSATION], Broken(change))
    (difference,) = found.rows[0].differences
    assert found.agrees == (difference.reason != UNEXPLAINED)
    assert found.rows[0].agreed == found.rows[0].tokens - (difference.end - difference.start)
    return difference


def removed(found: RenderedTokens, at: int) -> None:
    for column in (found.token_ids, found.message_indices, found.sampled_mask, found.is_content):
        del column[at]


def repeated(found: RenderedTokens, at: int) -> None:
    for column in (found.token_ids, found.message_indices, found.sampled_mask, found.is_content):
        column.insert(at, column[at])


def test_nothing_differs_unless_it_is_broken() -> None:
    found = compare(families.tokenizer_of("qwen3"), [CONVERSATION], Broken(lambda found, texts: None))
    assert found.agrees
    assert found.rows[0].differences == ()


@pytest.mark.parametrize("word", [" colour", " blue", "<|im_end|>"])
def test_a_dropped_token(word: str) -> None:
    found = difference_of(lambda found, texts: removed(found, len(texts) - 1 - texts[::-1].index(word)))
    assert (found.aspect, found.text, found.theirs, found.reason, found.right) == ("ids", word, "", UNEXPLAINED, "maskkit")


def test_a_token_too_many() -> None:
    found = difference_of(lambda found, texts: repeated(found, texts.index(" sky")))
    assert (found.aspect, found.end - found.start, found.theirs, found.reason) == ("ids", 0, " sky", UNEXPLAINED)
    assert found.size == 1


@pytest.mark.parametrize(("word", "owner"), [(" colour", 0), (" kind", 1), ("assistant", 1), ("user", -1)])
def test_a_token_of_another_message(word: str, owner: int) -> None:
    def change(found: RenderedTokens, texts: list[str]) -> None:
        found.message_indices[texts.index(word)] = owner

    found = difference_of(change)
    if owner == -1:
        assert found.reason == "scaffold-owner"
    else:
        assert (found.aspect, found.text, found.theirs, found.reason) == ("owner", word, owner, UNEXPLAINED)


@pytest.mark.parametrize(("word", "theirs"), [(" colour", True), ("assistant", True), (" blue", False), ("<|im_end|>", False)])
def test_a_token_that_is_said_to_be_sampled_or_not(word: str, theirs: bool) -> None:
    def change(found: RenderedTokens, texts: list[str]) -> None:
        found.sampled_mask[len(texts) - 1 - texts[::-1].index(word)] = theirs

    found = difference_of(change)
    assert (found.aspect, found.text, found.ours, found.theirs) == ("generated", word, not theirs, theirs)
    assert found.reason == UNEXPLAINED


def test_the_blank_behind_the_stop_token_is_no_error() -> None:
    def change(found: RenderedTokens, texts: list[str]) -> None:
        found.sampled_mask[-1] = True

    found = difference_of(change)
    assert (found.text, found.reason, found.right) == ("\n", "after-stop", "maskkit")


@pytest.mark.parametrize(("word", "content"), [(" colour", False), ("user", True)])
def test_a_token_that_is_said_to_be_content_or_not(word: str, content: bool) -> None:
    def change(found: RenderedTokens, texts: list[str]) -> None:
        found.is_content[texts.index(word)] = content

    found = difference_of(change)
    assert (found.aspect, found.text, found.theirs, found.reason) == ("content", word, content, UNEXPLAINED)


def test_a_token_of_which_only_a_part_is_the_models() -> None:
    """Qwen3.5's prompt ends within the two line breaks behind ``<think>``: either answer is half right."""

    def change(found: RenderedTokens, texts: list[str]) -> None:
        found.sampled_mask[texts.index("<think>") + 1] = False

    found = compare(families.tokenizer_of("qwen3.5"), [CONVERSATION], Broken(change, "qwen3.5"))
    assert [(d.text, d.reason) for d in found.rows[0].differences] == [("<think>", "prefilled"), ("\n\n", "token-spans")]


def test_a_text_encoded_in_other_pieces() -> None:
    """One change, though a piece in the middle of it is the same by chance."""
    row = {"messages": [{"role": "user", "content": "aaaaaaaaaaaa"}, {"role": "assistant", "content": "Many."}]}

    def change(found: RenderedTokens, texts: list[str]) -> None:
        first = texts.index("aaaaaaaa")
        assert texts[first : first + 2] == ["aaaaaaaa", "aaaa"]
        found.token_ids[first], found.token_ids[first + 1] = found.token_ids[first + 1], found.token_ids[first]

    found = compare(families.tokenizer_of("qwen3"), [row], Broken(change))
    (difference,) = found.rows[0].differences
    assert difference.ours == difference.theirs == "aaaaaaaaaaaa"
    assert (difference.size, difference.reason, difference.right) == (2, "encoded-apart", "maskkit")


@pytest.mark.parametrize(("family", "reason", "end"), [("qwen3.5", "prefilled", 0), ("glm-4.5", "model-writes", 10_000)])
def test_the_prompt_of_transformers_decides(family: str, reason: str, end: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, renderer = families.tokenizer_of(family), families.FAMILIES[family].renderer
    assert [d.reason for d in compare(tokenizer, [CONVERSATION], renderer).rows[0].differences] == [reason]
    monkeypatch.setattr("maskkit.integrations.renderers.rendering.Rendering.prompt_end", lambda self, message: end)
    assert [d.reason for d in compare(tokenizer, [CONVERSATION], renderer).rows[0].differences] == [UNEXPLAINED]


def test_labels_that_do_not_fit_their_tokens() -> None:
    def change(found: RenderedTokens, texts: list[str]) -> None:
        if len(texts) == 34:
            found.sampled_mask.pop()

    short = {"messages": CONVERSATION["messages"][1:]}
    found = compare(families.tokenizer_of("qwen3"), [CONVERSATION, short], Broken(change))
    assert [row.outcome for row in found.rows] == ["malformed", "compared"]
    assert found.rows[0].why == "sampled_mask has 33 entries for 34 tokens"
    assert not found.agrees


def test_labels_that_are_not_given() -> None:
    found = compare(families.tokenizer_of("qwen3"), [CONVERSATION], Broken(lambda found, texts: found.sampled_mask.clear()))
    assert found.rows[0].without == ("generated",)
    assert found.agrees


# -- maskkit that is wrong ------------------------------------------------------------------------------------------


def test_tokens_that_are_not_those_of_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ChatRenderer.transformers_ids
    monkeypatch.setattr(ChatRenderer, "transformers_ids", lambda self, record: asked(self, record)[:-1])
    found = compare(families.tokenizer_of("qwen3"), [CONVERSATION], Broken(lambda found, texts: removed(found, -1)))
    assert [(d.text, d.reason, d.right) for d in found.rows[0].differences] == [("\n", UNEXPLAINED, "renderers")]
    assert not found.rows[0].is_transformers
    assert not found.agrees


def test_control_tokens_in_a_text_are_a_choice_of_maskkit() -> None:
    row = {"messages": [{"role": "user", "content": "What is <|im_end|>?"}, {"role": "assistant", "content": "It ends a turn."}]}
    found = compare(families.tokenizer_of("qwen3"), [row], "qwen3")
    (difference,) = found.rows[0].differences
    assert (difference.ours, difference.theirs) == (" <|im_end|>?", " <|im_end|>?")
    assert (difference.reason, difference.right) == ("typed-control", "both")
    assert found.agrees
    allowed = maskkit.Masker(families.tokenizer_of("qwen3"), control_tokens="allow")
    assert compare(allowed, [row], "qwen3").rows[0].differences == ()


# -- which renderer -------------------------------------------------------------------------------------------------


def compared(renderer: Any, tokenizer: Any = None, rows: Any = (CONVERSATION,), **options: Any) -> Comparison:
    return compare(families.tokenizer_of("qwen3") if tokenizer is None else tokenizer, rows, renderer, **options)


def test_a_renderer_can_be_named_in_several_ways() -> None:
    named = copy(families.tokenizer_of("qwen3"))
    named.name_or_path = "Qwen/Qwen3-8B"
    ways = [compared("qwen3"), compared({"name": "qwen3"}), compared(Qwen3RendererConfig()), compared(None, named)]
    assert {found.renderer for found in ways} == {f"qwen3 (renderers {families.versions()['renderers']})"}
    assert all(found.agrees for found in ways)


def test_options_of_the_renderer_count() -> None:
    rows = [{**CONVERSATION, "chat_template_kwargs": {"enable_thinking": False}}, CONVERSATION]
    with_options = compared({"name": "qwen3", "enable_thinking": False}, rows=rows)
    assert [row.differences for row in compared("qwen3", rows=rows).rows] == [row.differences for row in with_options.rows]
    everywhere = compared("qwen3", template_kwargs={"enable_thinking": False})
    assert [d.reason for d in everywhere.rows[0].differences] == ["prefilled"]


@pytest.mark.parametrize(
    ("renderer", "message"),
    [
        ("qwen4", "unknown renderer 'qwen4'. Did you mean 'qwen3'?"),
        ("default", "no second opinion"),
        ({"name": "qwen3", "wings": 2}, "renderer 'qwen3' does not take these options"),
        (7, "renderer is 7, expected a name"),
        (None, "the package renderers has no renderer for '.*', since it knows models by their hub name"),
        ("glm-4.5", "renderer 'glm-4.5' cannot be used with this tokenizer: .*not found in tokenizer vocabulary"),
    ],
)
def test_a_renderer_that_there_is_not(renderer: Any, message: str) -> None:
    with pytest.raises(maskkit.ConfigError, match=message):
        compared(renderer)


def test_what_is_not_comparable_is_refused() -> None:
    tokenizer = families.tokenizer_of("qwen3")
    for masker in (maskkit.Masker(tokenizer, max_length=9), maskkit.Masker(tokenizer, history="as-served")):
        with pytest.raises(maskkit.ConfigError, match="the Masker cuts or divides rows"):
            compared("qwen3", masker)
    with pytest.raises(maskkit.ConfigError, match="are those of the Masker"):
        compared("qwen3", maskkit.Masker(tokenizer), date=families.DATE)
    with pytest.raises(maskkit.ConfigError, match="row 0 is text, expected a conversation"):
        compared("qwen3", rows=[{"text": "Plain."}])


def test_a_row_that_one_of_the_two_refuses_is_told() -> None:
    (arguments_as_text,) = (record for record in families.records() if record.source == "arguments as text")
    rows = [{**CONVERSATION, "chat_template_kwargs": {"wings": 2}}, CONVERSATION, arguments_as_text]
    found = compared("glm-5", families.tokenizer_of("glm-4.7"), rows)
    assert [row.outcome for row in found.rows] == ["renderer-refuses", "compared", "template-refuses"]
    assert "Unsupported chat_template_kwargs for 'glm-5': ['wings']" in found.rows[0].why
    assert not compared("qwen3", rows=rows[:1]).agrees
    given = compared(Broken(lambda found, texts: None), rows=rows[:1])
    assert given.rows[0].why.endswith("takes no template arguments (wings)")


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("maskkit.integrations.renderers")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "renderers", None)
    with pytest.raises(maskkit.MissingExtraError, match=r"\(Python 3.11 or newer\) needs the package 'renderers': .*maskkit\[renderers\]"):
        importlib.import_module("maskkit.integrations.renderers")


# -- on the command line --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tokenizer of Qwen3 and the template of Qwen3.5."""
    folder = tmp_path_factory.mktemp("second") / "qwen3.5"
    families.tokenizer_of("qwen3.5").save_pretrained(folder)
    return folder


def test_the_page_shows_what_the_command_prints(model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(model.parent)
    done = call(capsys, "check", "renderers", "qwen3.5", "--renderer", "qwen3.5")
    assert done.status == 0
    page = (Path(__file__).parents[2] / "docs" / "templates.md").read_text(encoding="utf-8")
    if families.versions() == EXPECTED["versions"]:
        assert f"$ maskkit check renderers qwen3.5 --renderer qwen3.5\n{done.out}```" in page


def test_all_of_it_as_json(model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(CONVERSATION) + "\n" for _ in range(3)), encoding="utf-8")
    done = call(capsys, "check", "renderers", str(model), str(data), "--renderer", "{name: qwen3.5}", "--rows", "2", "--json")
    assert done.status == 0
    assert done.json["agrees"] is True
    assert done.json["reasons"] == {"prefilled": 2}
    assert [row["source"] for row in done.json["rows"]] == [f"{data}:1", f"{data}:2"]
    assert done.json["rows"][0]["differences"][0]["text"] == "<think>"


def test_what_is_not_explained_is_a_finding(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    second = maskkit.integrations.renderers.package.SecondRenderer
    said = second.__call__

    def changed(self: Any, *arguments: Any) -> Any:
        opinion = said(self, *arguments)
        return replace(opinion, owner=opinion.owner + (opinion.owner == 1))

    monkeypatch.setattr(second, "__call__", changed)
    data = tmp_path / "rows.jsonl"
    data.write_text(json.dumps(CONVERSATION), encoding="utf-8")
    done = call(capsys, "check", "renderers", str(model), str(data), "--renderer", "qwen3.5")
    assert done.status == 1
    assert "owner: maskkit message 1, renderer message 2" in " ".join(done.out.split())
    assert done.out.splitlines()[-1] == "1 difference without a reason"


def test_nothing_to_compare_is_a_finding(model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text(json.dumps({**CONVERSATION, "chat_template_kwargs": {"wings": 2}}), encoding="utf-8")
    done = call(capsys, "check", "renderers", str(model), str(data), "--renderer", "qwen3.5")
    assert done.status == 1
    assert done.out.splitlines()[-1] == "nothing could be compared"
    data.write_text("", encoding="utf-8")
    assert "no row is in it" in refused(capsys, "check", "renderers", str(model), str(data), "--renderer", "qwen3.5")


# -- side by side ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("abcdef", "abcdef"),
        ("abcdef", "abXdef"),
        ("abcdef", "abdef"),
        ("", "ab"),
        ("ab", ""),
        ("aab", "ab"),
        ("abab", "ab"),
        ("xaybz", "ab"),
    ],
)
def test_alignments_cover_both(ours: str, theirs: str) -> None:
    import numpy as np

    ids = [np.array([*map(ord, text)], np.int64) for text in (ours, theirs)]
    found = align(*ids)
    assert (ids[0][found.ours] == ids[1][found.theirs]).all()
    assert all((np.diff(places) > 0).all() for places in (found.ours, found.theirs))
    spent = [{*range(c.start, c.end)} for c in found.changes], [{*range(c.other_start, c.other_end)} for c in found.changes]
    for places, changed, text in ((found.ours, spent[0], ours), (found.theirs, spent[1], theirs)):
        assert sorted([*places.tolist(), *(place for change in changed for place in change)]) == [*range(len(text))]

"""Attribution of templates and conversations that are put together at random; prints the result and fails if any of it is wrong.

    python -m tests.campaigns.fuzz              some thousand pairs; a few minutes
    python -m tests.campaigns.fuzz 500          as many
    python -m tests.campaigns.fuzz 500 7        drawn with another seed

What it printed last is in ``fuzz.txt`` beside this file.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cache
from importlib.metadata import version
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from markupsafe import escape

from maskkit.chat import ChatRenderer
from maskkit.chat.segments import RenderedText
from maskkit.chat.spans import Span
from maskkit.chat.traced import DERIVED, ESCAPED, TEMPLATE, UNKNOWN
from maskkit.errors import TemplateError
from tests.campaigns.cell import StandIns
from tests.campaigns.templates import templates
from tests.chat.conversations import TOOLS, Row, assistant, call, system, tool, user
from tests.chat.looking import check_cover
from tests.chat.tokenizers import tokenizer_for

TOKENIZER_TEXT = "<|im_start|><|im_end|><|x|></think><think>"
WORDS = [
    "a", "b", "Word ", "some more words", "x1", "two words", "user", "\n", "  ", "<b>&", '"', "'", "\\", "%s", "{0}", "ß", "İ", "é",
    "e\u0301", "🐕\u200d🦺", "שלום", "\x00", "\u2028", "\ud800", "\t", "<|im_end|>",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(WORDS), max_size=5).map("".join)
ARGUMENTS = st.recursive(
    st.one_of(TEXTS, st.integers(-5, 10**12), st.floats(allow_nan=False, width=16), st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(["k", "é", "a b"]), inner, max_size=2)),
    max_leaves=4,
)


@st.composite
def conversations(draw: st.DrawFn) -> Row:
    """A row: one to three turns, with everything that a row may have now and then."""

    def now_and_then() -> bool:
        return draw(st.integers(0, 3)) == 0

    def said() -> Any:
        text = draw(TEXTS)
        return [{"type": "text", "text": text}, {"type": "text", "text": draw(TEXTS)}] if draw(st.integers(0, 9)) == 0 else text

    messages: list[dict[str, Any]] = [system(said())] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        messages.append(user(said()))
        if now_and_then():
            calls = [call({"city": draw(TEXTS), "x": draw(ARGUMENTS)}) for _ in range(draw(st.integers(1, 2)))]
            messages += [assistant(draw(TEXTS), tool_calls=calls), *(tool(draw(TEXTS)) for _ in calls)]
        if draw(st.integers(0, 5)):
            messages.append(assistant(said(), **({"reasoning_content": draw(TEXTS)} if now_and_then() else {})))
    return Row(
        tuple(messages),
        tools=TOOLS if now_and_then() else None,
        documents=[{"title": draw(TEXTS), "text": draw(TEXTS)}] if now_and_then() else None,
        template_kwargs={"extra": draw(ARGUMENTS)} if now_and_then() else {},
    )


@cache
def tokenizer() -> Any:
    """One tokenizer for all."""
    return tokenizer_for(TOKENIZER_TEXT)


def judge(template: str, row: Row, sums: Counter[str]) -> None:
    """Adds to the sums; raises AssertionError if anything is wrong."""
    sums["pairs"] += 1
    renderer = ChatRenderer(tokenizer(), chat_template=template, date=datetime.now())
    try:
        rendered = renderer.render(row)
    except TemplateError as error:
        # Where in memory something lies is another place every time.
        if "please report" in str(error) and " at 0x" not in _theirs(template, row.messages, row):
            raise AssertionError(str(error)) from error
        sums["refused"] += 1
        return
    check_cover(rendered)
    sums["characters"] += len(rendered.text)
    sums["unknown"] += sum(span.end - span.start for span in rendered.spans if span.origin is UNKNOWN)
    sums["unknown kind"] += sum(s.end - s.start for s in rendered.segments if s.kind == "unknown")
    for span in rendered.spans:
        if span.is_data:
            sums["data"] += span.end - span.start
            _check_source(rendered.text[span.start : span.end], span, row)
    sums["confirmed"] += _confirmed(template, row, rendered)


def _theirs(template: str, messages: Sequence[dict[str, Any]], row: Row) -> str:
    """What transformers renders."""
    arguments: dict[str, Any] = {"tools": row.tools, "documents": row.documents, **row.template_kwargs}
    text: str = tokenizer().apply_chat_template(list(messages), chat_template=template, tokenize=False, **arguments)
    return text


def _check_source(text: str, span: Span, row: Row) -> None:
    """A character that claims to come from one of the data is it, but for its case or escape."""
    if span.mapping == DERIVED:
        return
    value = _value(span.origin, row)
    assert isinstance(value, str), f"{text!r} is said to be characters of {value!r}"
    pieces = [(text, value[span.offset])] if span.mapping == ESCAPED else zip(text, value[span.offset :], strict=False)
    assert span.mapping == ESCAPED or span.offset + len(text) <= len(value)
    for piece, source in pieces:
        part = span.mapping == ESCAPED and any(piece in spelling for spelling in _spellings(source))
        assert part or piece in _spellings(source), f"{piece!r} is said to be {source!r}, at {span.origin}[{span.offset}]"


@cache
def _spellings(character: str) -> set[str]:
    """What filters make of one character: other case, and escapes of escapes."""
    spelled = _cased({character}) | ({"ς"} if character in "σΣ" else set())
    for _ in range(3):
        spelled |= {escaped for text in spelled for escaped in _escaped(text)}
    return _cased(spelled) | {" " * n for n in range(1, 4) if character == "\t"}


def _cased(texts: set[str]) -> set[str]:
    return {changed for text in texts for changed in (text, text.upper(), text.lower(), text.title(), text.swapcase(), text.casefold())}


def _escaped(text: str) -> Iterator[str]:
    yield from (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1], str(escape(text)))
    yield text.replace("'", "\\'")


def _value(path: tuple[Any, ...], row: Row) -> Any:
    name, *steps = path
    if name == "kwargs":
        name, *steps = steps
        value: Any = row.template_kwargs[name]
    else:
        value = {"messages": row.messages, "tools": row.tools, "documents": row.documents}[name]
    for step in steps:
        value = value[step]
    return value


def _confirmed(template: str, row: Row, rendered: RenderedText) -> int:
    """Characters of the messages that transformers, given stand-ins for them, prints where tracing says.

    0 where it prints something else for stand-ins: the template has looked at them.
    """
    stand_ins = StandIns()
    messages = [stand_ins.of(dict(message), str(index)) for index, message in enumerate(row.messages)]
    try:
        text = _theirs(template, messages, row)
    except Exception:
        return 0
    if stand_ins.back(text) != rendered.text:
        return 0
    confirmed = 0
    spans = iter(rendered.spans)
    span = next(spans, None)
    for position, character in enumerate(text):
        while span is not None and span.end <= position:
            span = next(spans, None)
        assert span is not None
        if character not in stand_ins.places or span.origin is UNKNOWN:
            continue
        path, offset, original = stand_ins.places[character]
        message, _, field = path.partition(".")
        whose = f"message {message}'s {field}[{offset}], {original!r}, was printed at {position}; tracing says {span}"
        assert span.origin is not TEMPLATE, whose
        assert span.message == int(message) or span.origin == ("messages",), whose
        if span.mapping == DERIVED:
            assert field.startswith(span.field), whose
        else:
            assert (span.field, span.offset + (position - span.start) * (span.mapping != ESCAPED)) == (field, offset), whose
        confirmed += 1
    return confirmed


def pairs(count: int, number: int, sums: Counter[str], shrinks: bool = True) -> None:
    """Judges so many pairs; the same ones for the same number.

    Raises:
        AssertionError: one of them is wrong, the smallest found.
    """

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, *([Phase.shrink] if shrinks else [])],
    )
    @given(templates(), conversations())
    def judge_all(template: str, row: Row) -> None:
        judge(template, row, sums)

    judge_all()


def main(arguments: list[str]) -> int:
    """Runs the campaign; 1 if anything is wrong."""
    count, number = (int(word) for word in [*arguments, *("4000", "1")[len(arguments) :]])
    sums, wrong = Counter[str](), 0
    try:
        pairs(count, number, sums)
    except Exception as error:
        found: Sequence[Exception] = getattr(error, "exceptions", [error])
        wrong = len(found)
        for each in found:
            print(f"WRONG: {type(each).__name__}: {each}", *getattr(each, "__notes__", ()), sep="\n")
    print(
        f"{sums['pairs']:,} templates and conversations, seed {number}; transformers {version('transformers')}, jinja2 {version('jinja2')}"
    )
    print(f"{sums['refused']:,} refused by transformers too, {wrong} wrong")
    print(f"{sums['characters']:,} characters, {sums['data']:,} of them data, {sums['unknown']:,} of unknown origin")
    print(f"{sums['confirmed']:,} characters confirmed by stand-ins")
    return wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

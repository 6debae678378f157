"""A traced string is a string: same text from every operation, with runs that cover it and point at the right characters."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskkit.chat.output import assemble, owned
from maskkit.chat.owners import NOBODY, adopt, current_owner, enter_iteration, enter_loop, fresh_owners, leave_loop
from maskkit.chat.traced import (
    DERIVED,
    ESCAPED,
    EXACT,
    TEMPLATE,
    UNKNOWN,
    Traced,
    common_origin,
    concat,
    covered,
    derive,
    literal,
    make,
    plain,
)

ALPHABET = "ab AB\t\n-+0ßİΣǆ「é́🐕\u200d%{}'\"\\"
TEXTS = st.text(ALPHABET, max_size=8)
SHORT = st.text("ab \n-", max_size=2)


def data(text: str, *path: Any) -> Traced:
    """Text of the data at a path."""
    return make(text, [(len(text), path or ("messages", 0, "content"), 0, EXACT, NOBODY)] if text else [])


@st.composite
def traced_texts(draw: st.DrawFn) -> tuple[Traced, dict[Any, str]]:
    """A string made of data and template text, and the texts of its sources."""
    pieces, sources = [], {}
    for number in range(draw(st.integers(0, 4))):
        text = draw(TEXTS)
        if draw(st.booleans()):
            sources[("messages", number, "content")] = text
            pieces.append(data(text, "messages", number, "content"))
        else:
            pieces.append(literal(text))
    return concat(pieces), sources


def like(s: str, text: str) -> str:
    """The template of a formatting, traced when its arguments are."""
    return literal(text) if isinstance(s, Traced) else text


OPERATIONS: dict[str, Callable[[Any, Any, Any, int], Any]] = {
    "add": lambda s, a, b, n: s + a,
    "radd": lambda s, a, b, n: a + s,
    "mul": lambda s, a, b, n: s * n,
    "rmul": lambda s, a, b, n: n * s,
    "index": lambda s, a, b, n: s[n],
    "slice": lambda s, a, b, n: s[n:],
    "slice end": lambda s, a, b, n: s[1:n],
    "slice step": lambda s, a, b, n: s[::-1],
    "slice stride": lambda s, a, b, n: s[n::2],
    "iter": lambda s, a, b, n: list(s),
    "reversed": lambda s, a, b, n: list(reversed(s)),
    "str": lambda s, a, b, n: str(s),
    "repr": lambda s, a, b, n: repr(s),
    "format spec": lambda s, a, b, n: format(s, f">{abs(n)}"),
    "format no spec": lambda s, a, b, n: format(s, ""),
    "capitalize": lambda s, a, b, n: s.capitalize(),
    "casefold": lambda s, a, b, n: s.casefold(),
    "center": lambda s, a, b, n: s.center(n * 3),
    "center fill": lambda s, a, b, n: s.center(n * 5, "x"),
    "encode": lambda s, a, b, n: s.encode("utf-8", "surrogatepass"),
    "expandtabs": lambda s, a, b, n: s.expandtabs(n),
    "join": lambda s, a, b, n: s.join([a, b, s]),
    "ljust": lambda s, a, b, n: s.ljust(n * 4, "."),
    "lower": lambda s, a, b, n: s.lower(),
    "lstrip": lambda s, a, b, n: s.lstrip(),
    "lstrip chars": lambda s, a, b, n: s.lstrip(a),
    "partition": lambda s, a, b, n: s.partition(a),
    "removeprefix": lambda s, a, b, n: s.removeprefix(a),
    "removesuffix": lambda s, a, b, n: s.removesuffix(a),
    "replace": lambda s, a, b, n: s.replace(a, b),
    "replace count": lambda s, a, b, n: s.replace(a, b, n),
    "rjust": lambda s, a, b, n: s.rjust(n * 4),
    "rpartition": lambda s, a, b, n: s.rpartition(a),
    "rsplit": lambda s, a, b, n: s.rsplit(),
    "rsplit on": lambda s, a, b, n: s.rsplit(a, n),
    "rsplit blanks": lambda s, a, b, n: s.rsplit(None, n),
    "rstrip": lambda s, a, b, n: s.rstrip(),
    "rstrip chars": lambda s, a, b, n: s.rstrip(a),
    "split": lambda s, a, b, n: s.split(),
    "split on": lambda s, a, b, n: s.split(a, n),
    "split blanks": lambda s, a, b, n: s.split(None, n),
    "splitlines": lambda s, a, b, n: s.splitlines(),
    "splitlines keep": lambda s, a, b, n: s.splitlines(True),
    "strip": lambda s, a, b, n: s.strip(),
    "strip chars": lambda s, a, b, n: s.strip(a),
    "swapcase": lambda s, a, b, n: s.swapcase(),
    "title": lambda s, a, b, n: s.title(),
    "translate": lambda s, a, b, n: s.translate({ord("a"): "xyz", ord("b"): None, ord(" "): "_"}),
    "upper": lambda s, a, b, n: s.upper(),
    "zfill": lambda s, a, b, n: s.zfill(n * 4),
    "percent": lambda s, a, b, n: like(s, "<%s|%5s|%r|%%>") % (s, a, b),
    "percent self": lambda s, a, b, n: s % a,
    "percent keys": lambda s, a, b, n: like(s, "<%(x)s>") % {"x": s},
    "str.format": lambda s, a, b, n: like(s, "<{}|{x!r}|{x:>6}|{{}}>" if n else "<{}|{0}>").format(s, x=a),
    "format self": lambda s, a, b, n: s.format(a, b),
    "format_map": lambda s, a, b, n: s.format_map({"a": a, "ab": b}),
    "in": lambda s, a, b, n: (a in s, s == a, s < a, hash(s), s.find(a), s.startswith(a)),
}


def outcome(operation: Callable[[], Any]) -> Any:
    try:
        return operation()
    except Exception as error:
        return type(error)


def strings(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [s for item in value for s in strings(item)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("name", OPERATIONS)
@given(made=traced_texts(), a=SHORT, b=SHORT, n=st.integers(-3, 6))
def test_every_operation_gives_the_text_of_str(name: str, made: tuple[Traced, dict[Any, str]], a: str, b: str, n: int) -> None:
    text, sources = made
    operation = OPERATIONS[name]
    expected = outcome(lambda: operation(plain(text), a, b, n))
    found = outcome(lambda: operation(text, literal(a), literal(b), n))
    assert found == expected
    for piece in strings(found):
        if isinstance(piece, Traced):
            assert covered(piece._runs) == len(piece)
            assert all(run[0] > 0 for run in piece._runs)
            points_home(piece, sources)


def points_home(piece: Traced, sources: dict[Any, str]) -> None:
    """Every character that claims to come from a character of the data does so, up to its case or escape."""
    at = 0
    for length, origin, offset, mapping, _ in piece._runs:
        for k in range(length if mapping == EXACT and origin in sources else 0):
            source = sources[origin][offset + k]
            assert plain(piece)[at + k].casefold() == source.casefold() or source in "ab İΣǆΣσς" or source.isspace()
        if mapping == ESCAPED:
            assert offset < len(sources[origin])
        at += length


def test_every_method_of_str_that_makes_text_is_traced() -> None:
    untouched = {
        "count", "encode", "endswith", "find", "index", "maketrans", "rfind", "rindex", "startswith",
        *(name for name in dir(str) if name.startswith("is")),
        *(name for name in dir(str) if name.startswith("__")),
    }  # fmt: skip
    assert [name for name in dir(str) if name not in untouched and getattr(Traced, name) is getattr(str, name)] == []


def test_pieces_know_their_place() -> None:
    first, second = data("  one, two ").strip().split(", ")
    assert first._runs == [(3, ("messages", 0, "content"), 2, EXACT, NOBODY)]
    assert second._runs == [(3, ("messages", 0, "content"), 7, EXACT, NOBODY)]


def test_a_character_that_grows_stays_one_character_of_the_source() -> None:
    assert data("aß!").upper()._runs == [
        (1, ("messages", 0, "content"), 0, EXACT, NOBODY),
        (2, ("messages", 0, "content"), 1, ESCAPED, NOBODY),
        (1, ("messages", 0, "content"), 2, EXACT, NOBODY),
    ]


def test_plain_text_is_of_unknown_origin() -> None:
    assert Traced("x")._runs == [(1, UNKNOWN, -1, DERIVED, NOBODY)]
    assert (literal("a") + "x")._runs[1][1] is UNKNOWN
    assert ("x" + literal("a"))._runs[0][1] is UNKNOWN


def test_what_is_made_of_several_values_has_the_origin_they_share() -> None:
    inside = ("messages", 0, "tool_calls", 0, "function", "arguments")
    assert common_origin([(*inside, "city"), (*inside, "days")]) == inside
    assert common_origin([("messages", 0, "content"), ("messages", 0, "reasoning")]) is UNKNOWN
    assert common_origin([("messages", 0, "content"), ("messages", 1, "content")]) is UNKNOWN
    assert common_origin([TEMPLATE, ("messages", 0, "content")]) is UNKNOWN
    assert common_origin([]) is TEMPLATE
    assert derive("abc", data("x"))._runs == [(3, ("messages", 0, "content"), -1, DERIVED, NOBODY)]


def test_pickles_as_plain_text() -> None:
    assert type(pickle.loads(pickle.dumps(data("x")))) is str


def test_text_belongs_to_the_message_whose_iteration_wrote_it() -> None:
    with fresh_owners():
        output: list[str] = [literal("a")]
        enter_loop()
        output += [enter_iteration(3), literal("b"), data("B")]
        enter_loop()
        output += [enter_iteration(NOBODY), literal("c"), enter_iteration(5), literal("d"), leave_loop()]
        output += [literal("e"), adopt(7), literal("f")]
        assert current_owner() == 3
        output += [leave_loop(), literal("g")]
        text = assemble(output)
    assert text == "abBcdefg"
    assert [(run[0], run[4]) for run in text._runs] == [(1, NOBODY), (1, 3), (1, 3), (1, 3), (1, 5), (2, 3), (1, NOBODY)]


def test_output_joined_inside_an_iteration_belongs_to_it() -> None:
    with fresh_owners():
        enter_loop()
        enter_iteration(3)
        captured = assemble([literal("a"), "?", data("b")])
        leave_loop()
        assert {run[4] for run in captured._runs} == {3}
        assert [run[4] for run in assemble([literal("x"), captured])._runs] == [NOBODY, 3, 3, 3]


def test_what_is_kept_is_the_messages_as_far_as_the_template_wrote_it() -> None:
    with fresh_owners():
        enter_loop()
        enter_iteration(3)
        kept = owned(literal("a") + data("b"))
        assert [run[4] for run in kept._runs] == [3, NOBODY]
        assert owned(5) == 5


def test_a_rendering_that_fails_leaves_no_owner_behind() -> None:
    def fails() -> None:
        with fresh_owners():
            enter_loop()
            enter_iteration(2)
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fails()
    assert current_owner() == NOBODY


def test_a_text_replaced_by_itself_stays_where_it_comes_from():
    said, role = data("the user says"), data("user", "messages", 0, "role")
    assert said.replace(role, role)._runs == said._runs
    assert said.replace(data("nowhere"), role)._runs == said._runs
    assert said.replace(literal("says"), role)._runs[-1][1] == ("messages", 0, "role")

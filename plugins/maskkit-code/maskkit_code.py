"""A weight per class of syntax inside the code fences of what a model writes: names, keywords, comments, strings, ...

Pygments reads the code, so every language that it knows is told apart; code in a language that it does not know has the weight ``code``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from pydantic import Field
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Token
from pygments.util import ClassNotFound

import maskkit

FENCE = re.compile(
    r"^(?P<fence>`{3,}|~{3,})[ \t]*(?P<language>[^\s`{]*)[^\n]*\n(?P<code>.*?)(?:^(?P=fence)[ \t]*$|\Z)", re.MULTILINE | re.DOTALL
)
"""A fenced block of code; one that is never closed goes on to the end."""

SYNTAX = {
    Token.Comment.Preproc: "code",
    Token.Comment.PreprocFile: "code",
    Token.Comment.Hashbang: "code",
    Token.Comment: "comments",
    Token.Literal.String.Doc: "comments",
    Token.Literal.String: "strings",
    Token.Literal.Number: "numbers",
    Token.Keyword: "keywords",
    Token.Operator.Word: "keywords",
    Token.Operator: "operators",
    Token.Punctuation: "punctuation",
    Token.Name: "names",
    Token.Text: "whitespace",
}
"""Classes of syntax by Pygments' token types; a type that is not here has the class of the nearest one above it, ``code`` for none."""


class Code(maskkit.Strategy):
    """Train what the model writes, with a weight per class of syntax inside its code fences.

    A token that touches several classes has the weight of the first that is no white space.
    """

    name = "code"

    class Options(maskkit.StrategyOptions):
        code: float = Field(1.0, ge=0)
        """Weight of code, where nothing more is said for its class or its language is unknown."""
        prose: float = Field(1.0, ge=0)
        """Weight of everything else that the model writes, fences included."""
        comments: float | None = Field(None, ge=0)
        """Weight of comments and docstrings; null for that of ``code``, as for the classes below."""
        strings: float | None = Field(None, ge=0)
        """Weight of string literals."""
        numbers: float | None = Field(None, ge=0)
        """Weight of number literals."""
        keywords: float | None = Field(None, ge=0)
        """Weight of keywords."""
        operators: float | None = Field(None, ge=0)
        """Weight of operators."""
        punctuation: float | None = Field(None, ge=0)
        """Weight of brackets, commas and the like."""
        names: float | None = Field(None, ge=0)
        """Weight of names."""
        whitespace: float | None = Field(None, ge=0)
        """Weight of indentation and line ends."""
        stop: float = Field(1.0, ge=0)
        """Weight of the stop token."""

    def weights(self, tokens: maskkit.Tokens):
        options = self.options
        written = tokens.where(kind=("answer", "reasoning", "tool_call"))
        weights = options.prose * written + options.stop * tokens.where(kind="stop")
        for start, code, language in blocks(tokens):
            inside = np.flatnonzero(tokens.touching([(start, start + len(code))]) & written)
            first = first_visible(code, tokens.char_start[inside] - start, tokens.char_end[inside] - start)
            weights[inside] = character_weights(code, language, options)[first]
        return weights


def character_weights(code: str, language: str, options: Any) -> np.ndarray:
    """The weight of each character of a block: float64 [len(code)]."""
    weights = np.full(len(code), options.code)
    lexer = lexer_of(language)
    for offset, sort, text in lexer.get_tokens_unprocessed(code) if lexer else ():
        syntax = "whitespace" if text.isspace() else class_of(sort)
        weight = getattr(options, syntax)
        if weight is not None:
            weights[offset : offset + len(text)] = weight
    return weights


def first_visible(code: str, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """For each range of characters the first inside the code that is no white space, or its first where all are."""
    start, end = np.clip(start, 0, len(code) - 1), np.clip(end, 0, len(code))
    visible = np.flatnonzero([not character.isspace() for character in code])
    following = np.append(visible, len(code))[np.searchsorted(visible, start)]
    return np.where(following < end, following, start)


def blocks(tokens: maskkit.Tokens) -> Iterator[tuple[int, str, str]]:
    """(first character, code, language) of each block. One whose end was cut off with the row is read to its end all the same."""
    for start, end in tokens.runs(("answer", "reasoning")):
        cut = end >= tokens.char_end[-1]
        for match in FENCE.finditer(tokens.text, start, len(tokens.text) if cut else end):
            if match.start() < end:
                yield match.start("code"), match["code"], match["language"]


@lru_cache(maxsize=64)
def lexer_of(language: str) -> Lexer | None:
    """Pygments' lexer for the word behind a fence; None where it knows none."""
    try:
        return get_lexer_by_name(language) if language else None
    except ClassNotFound:
        return None


@lru_cache(maxsize=256)
def class_of(sort: Any) -> str:
    """The class of syntax of a Pygments token type."""
    while sort is not Token:
        if sort in SYNTAX:
            return SYNTAX[sort]
        sort = sort.parent
    return "code"


@maskkit.hookimpl
def maskkit_strategies():
    return [Code]

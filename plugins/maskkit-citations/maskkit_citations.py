"""Train quotations by whether they stand in what the model was given: the question, tool results, documents.

An answer that quotes what is nowhere in its context teaches a model to make quotations up. This strategy leaves such quotations untrained,
or weighs them less, and can weigh those that are found more.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import Field

import maskkit

QUOTATION = re.compile(
    r'"([^"\n]+)"|“([^”\n]+)”|„([^“”\n]+)[“”]|«([^»\n]+)»|‹([^›\n]+)›|「([^」\n]+)」|『([^』\n]+)』|<quote>(.+?)</quote>|^> ?([^\n]+)$',
    re.MULTILINE,
)
"""What stands in quotation marks on one line, between <quote> tags, or on a line that Markdown shows as a quotation."""

OMISSION = re.compile(r"\s*[\[(]?(?:…|\.\.\.)[\])]?\s*")
"""Words left out of a quotation: the parts around it are looked for one after another."""

_ALIKE = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "„": '"', "–": "-", "—": "-"})


class Citations(maskkit.Strategy):
    """Train answers, and their quotations by whether these stand word for word in what the model was given.

    Case, white space and the form of quotation marks and dashes make no difference; ``…`` and ``[...]`` leave words out. What the model was
    given are the messages before the reply and the row's documents.
    """

    name = "citations"

    class Options(maskkit.StrategyOptions):
        found: float = Field(1.0, ge=0)
        """Weight of a quotation that stands in the context."""
        unfounded: float = Field(0.0, ge=0)
        """Weight of a quotation that does not."""
        answer: float = Field(1.0, ge=0)
        """Weight of the rest of the answer."""
        stop: float = Field(1.0, ge=0)
        """Weight of the stop token."""
        shortest: int = Field(12, ge=1)
        """Characters from which on something in quotation marks is a quotation; shorter ones are names and words, part of the answer."""
        roles: tuple[str, ...] = ("user", "tool", "system", "developer")
        """Roles of the messages that may be quoted."""

    def weights(self, tokens: maskkit.Tokens):
        options = self.options
        weights = options.answer * tokens.where(kind="answer") + options.stop * tokens.where(kind="stop")
        for reply in sorted(set(tokens.message[tokens.where(kind="answer")].tolist())):
            answer = tokens.where(kind="answer", message=reply)
            context = ""
            for start, end in quotations(tokens, answer, options.shortest):
                context = context or plain("\n".join(given_before(tokens.record, reply, options.roles)))
                stands = is_quoted_from(tokens.text[start:end], context)
                weights[tokens.touching([(start, end)]) & answer] = options.found if stands else options.unfounded
        return weights


def quotations(tokens: maskkit.Tokens, answer: Any, shortest: int) -> Iterator[tuple[int, int]]:
    """Ranges of characters of what an answer quotes. A quotation whose end was cut off with the row is read to its end all the same."""
    for start, end in tokens.runs(answer):
        cut = end >= tokens.char_end[-1]
        for match in QUOTATION.finditer(tokens.text, start, len(tokens.text) if cut else end):
            first, last = match.span(match.lastindex or 0)
            if match.start() < end and last - first >= shortest:
                yield first, last


def given_before(record: Any, reply: int, roles: Iterable[str]) -> Iterator[str]:
    """All text that the model was given before message ``reply``."""
    if record.form == "completion":
        yield record.prompt
    for message in record.messages[:reply]:
        if message["role"] in roles:
            yield from strings(message.get("content"))
    yield from strings(record.documents)


def strings(value: Any) -> Iterator[str]:
    """Every string in a value of JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from strings(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from strings(part)


def plain(text: str) -> str:
    """Text as it is compared: one form of each character, no case, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).translate(_ALIKE).casefold().split())


def is_quoted_from(quotation: str, context: str) -> bool:
    """Whether all parts of a quotation stand in a context (already ``plain``), in order."""
    position = 0
    for part in map(plain, OMISSION.split(quotation)):
        found = context.find(part.rstrip(".,;"), position)
        if found < 0:
            return False
        position = found + len(part)
    return True


@maskkit.hookimpl
def maskkit_strategies():
    return [Citations]

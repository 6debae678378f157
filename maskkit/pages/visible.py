"""Text of the data made safe and readable for a terminal: every character that has no picture of its own gets one.

Data may hold escape sequences that recolour or rewrite a terminal, characters that reverse the direction of text, and characters that
nobody sees. None of them reaches the terminal as it is.
"""

from __future__ import annotations

import unicodedata

NEWLINE = "⏎"
"""Shown where a line ends in the text; the terminal's own line breaks follow it."""

_ZERO_WIDTH_JOINER = "\u200d"
_PICTURES = {code: chr(0x2400 + code) for code in range(0x20)} | {ord("\t"): "⇥", ord("\n"): NEWLINE, 0x7F: "␡", 0xA0: "⍽"}
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def visible(text: str) -> str:
    """The text with a picture for each invisible character: ``⏎`` (line feed), ``␛`` (escape), ``⟨U+200B⟩`` (zero-width space).

    Letters of every script, emoji (with the joiners inside them) and spaces stay as they are. The result has no line break.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(pictures(text))


def pictures(text: str) -> list[str]:
    """For each character what shows it, as `visible` has it: itself, or the picture of one that is not seen."""
    if text.isascii() and text.isprintable():
        return list(text)
    return [_picture(text, index) for index in range(len(text))]


def _picture(text: str, index: int) -> str:
    character = text[index]
    if character.isprintable():
        return character
    if ord(character) in _PICTURES:
        return _PICTURES[ord(character)]
    if character == _ZERO_WIDTH_JOINER and _joins_emoji(text, index):
        return character
    return f"⟨U+{ord(character):04X}⟩" if unicodedata.category(character) in _INVISIBLE else character


def _joins_emoji(text: str, index: int) -> bool:
    """A joiner between two pictures makes one of them; variation selectors and skin tones may stand between."""
    before = text[:index].rstrip("\ufe0f\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff")[-1:]
    after = text[index + 1 : index + 2]
    return bool(before and after) and unicodedata.category(before) == unicodedata.category(after) == "So"

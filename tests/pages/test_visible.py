"""Nothing invisible stays invisible, nothing that a terminal obeys gets through, and letters and emoji stay whole."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskkit.pages.visible import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("a\nb\tc\r", "a⏎b⇥c␍"),
        ("\x1b[31mred", "␛[31mred"),
        ("nul \x00, delete \x7f, bell \a", "nul ␀, delete ␡, bell ␇"),
        ("\x9b31m", "⟨U+009B⟩31m"),
        ("zero\u200bwidth\u2060\ufeff", "zero⟨U+200B⟩width⟨U+2060⟩⟨U+FEFF⟩"),
        ("\u202eesrever", "⟨U+202E⟩esrever"),
        ("a\u2028b\xa0c", "a⟨U+2028⟩b⍽c"),
        ("日本語、漢字　𠮷", "日本語、漢字　𠮷"),
        ("🎉 👨‍👩‍👧 🏳️‍🌈 🧑🏽‍🚀 👍🏽 🇯🇵", "🎉 👨‍👩‍👧 🏳️‍🌈 🧑🏽‍🚀 👍🏽 🇯🇵"),
        ("a\u200db", "a⟨U+200D⟩b"),
        ("\udc80", "⟨U+DC80⟩"),
    ],
)
def test_pictures(text: str, shown: str):
    assert visible(text) == shown


@given(st.text("ab 日🎉\n\t\x00\x1b\x7f\x85\x9b\u200b\u200d\u202e\u2066\ufeff"))
def test_no_control_character_is_left(text: str):
    left = {character for character in visible(text) if unicodedata.category(character) in ("Cc", "Cf")}
    assert left <= {"\u200d"}

"""Each token sees itself and the tokens before it in its own document; the picture shows exactly that."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from maskkit.inspect.attention import Block, blocks, visibility
from maskkit.inspect.page.figures import CELL, Seen, triangle

documents = st.lists(st.integers(1, 6), min_size=1, max_size=5).map(lambda sizes: [d for d, size in enumerate(sizes) for _ in range(size)])


@given(documents)
def test_a_token_sees_what_stands_before_it_in_its_document(ids: list[int]):
    expected = [[ids[i] == ids[j] and j <= i for j in range(len(ids))] for i in range(len(ids))]
    np.testing.assert_array_equal(visibility(ids), expected)


def test_documents_are_blocks():
    assert blocks([0, 0, 1, 2, 2]) == [Block(0, 2), Block(2, 3), Block(3, 5)]


@given(documents, st.data())
def test_the_picture_covers_what_is_seen(ids: list[int], data: st.DataObject):
    kinds = [data.draw(st.sampled_from(["user", "answer"])) for _ in ids]
    drawn = triangle([Seen("x", kind, 1.0, document) for kind, document in zip(kinds, ids, strict=True)], "tokens")
    covered = np.zeros((len(ids), len(ids)), np.int64)
    for kind, path in re.findall(r'<path class="(\w+)" d="([^"]+)"/>', drawn):
        match = re.fullmatch(r"M(\d+) (\d+)((?:h\d+v\d+)+)V(\d+)H(\d+)Z", path)
        assert match is not None
        start, top, bottom = (int(match[number]) // CELL for number in (1, 2, 4))
        assert start == top == int(match[5]) // CELL
        for column in range(start, start + match[3].count("h")):
            assert kinds[column] == kind
            covered[column:bottom, column] += 1
    np.testing.assert_array_equal(covered, visibility(ids))


def test_text_of_the_data_is_escaped():
    drawn = triangle([Seen("<script>", "user", 0.0), Seen("&", "answer", -1.0)], "<b>")
    assert "<script>" not in drawn
    assert "<b>" not in drawn
    assert drawn.count('class="bar answer negative"') == 1

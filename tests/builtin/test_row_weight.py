"""``row-weight``: another strategy's weights times a column of the data."""

from __future__ import annotations

import pytest

import maskkit
from tests.builtin.weighing import weigh
from tests.tables import make_tokens


def table(**columns: object) -> maskkit.Tokens:
    pieces = [("user", False, 0), ("answer", True, 1), ("stop", True, 1)]
    return make_tokens(pieces, ("user", "assistant"), "data.jsonl:7", **columns)


def spec(**options: object) -> dict[str, object]:
    return {"name": "row-weight", **options}


def test_a_quality_scales_what_counts():
    assert weigh(spec(column="quality"), table(quality=0.5)) == [0, 0.5, 0.5]
    assert weigh(spec(column="meta.quality"), table(meta={"quality": 2})) == [0, 2, 2]
    assert weigh(spec(column="quality", strategy="causal"), table(quality=3)) == [3, 3, 3]
    assert weigh(spec(column="good"), table(good=False)) == [0, 0, 0]


def test_classes_have_the_weights_that_the_config_gives_them():
    conditioned = spec(column="origin", values={"expert": 1.0, "draft": 0.1})
    assert weigh(conditioned, table(origin="draft")) == [0, 0.1, 0.1]
    with pytest.raises(maskkit.DataError, match=r"data.jsonl:7: origin is 'other', expected one of 'expert', 'draft'"):
        weigh(conditioned, table(origin="other"))


def test_ratios_are_clipped():
    clipped = spec(column="ratio", min=0.5, max=2)
    assert [weigh(clipped, table(ratio=ratio))[1] for ratio in (0.1, 1, 9)] == [0.5, 1, 2]
    with pytest.raises(maskkit.ConfigError, match="min to be the smaller"):
        maskkit.load_strategy(spec(min=2, max=1))


def test_an_advantage_may_be_negative_when_asked():
    advantage = spec(column="advantage", signed=True)
    assert weigh(advantage, table(advantage=-1.5)) == [0, -1.5, -1.5]
    assert maskkit.load_strategy(advantage).signed
    with pytest.raises(maskkit.DataError, match=r"data.jsonl:7: advantage is -1.5; set signed: true"):
        weigh(spec(column="advantage"), table(advantage=-1.5))


@pytest.mark.parametrize("value", ["high", float("nan"), [1]])
def test_a_column_that_is_no_number_is_named(value: object):
    with pytest.raises(maskkit.DataError, match=r"data.jsonl:7: quality is .*expected a number"):
        weigh(spec(column="quality"), table(quality=value))


def test_a_missing_column_is_an_error_unless_it_has_a_default():
    with pytest.raises(
        maskkit.DataError, match=r"quality is missing, expected a number, or give row-weight a default; the row has 'messages'"
    ):
        weigh(spec(column="quality"), table())
    assert weigh(spec(column="quality", default=0.25), table()) == [0, 0.25, 0.25]
    assert weigh(spec(column="quality", default=0.25), table(quality=None)) == [0, 0.25, 0.25]


def test_it_multiplies_with_any_other():
    both = {"product": [{"name": "weighted", "stop": 0.5}, spec(column="quality")]}
    assert weigh(both, table(quality=4)) == [0, 4, 2]

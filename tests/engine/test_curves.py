"""The loss curves are well-formed SVG that shows what was measured."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskkit.engine.curves import loss_curves, smoothed, ticks

NAME = "{http://www.w3.org/2000/svg}"
METRICS = [
    *({"event": "train", "step": step, "loss": 5 / step} for step in range(1, 30)),
    {"event": "eval", "step": 0, "loss": 5.0, "kinds": {"user": 5.0, "answer": 5.5}},
    {"event": "eval", "step": 29, "loss": 0.5, "kinds": {"user": 6.0, "answer": 0.25}},
]


def test_every_curve_is_drawn_and_named_with_its_last_value():
    root = ET.fromstring(loss_curves(METRICS, trained_kinds=["answer"]))
    texts = [text.text for text in root.iter(f"{NAME}text")]
    assert {"held out 0.500", "user 6.000", "answer 0.250"} <= set(texts)
    dashed = [path.get("stroke-dasharray") for path in root.iter(f"{NAME}path")]
    assert dashed.count("5 4") == 2  # the user's curve and its legend: not trained


def test_curves_stay_inside_their_axes():
    root = ET.fromstring(loss_curves(METRICS))
    for circle in root.iter(f"{NAME}circle"):
        assert 0 <= float(circle.get("cx")) <= 400
        assert 0 <= float(circle.get("cy")) <= 260


def test_without_held_out_rows_the_kinds_come_from_training_batches():
    kinds = [{"event": "kinds", "step": 10, "kinds": {"text": 2.5}}]
    assert "text 2.500" in loss_curves([*METRICS[:20], *kinds])


def test_a_run_that_measured_nothing_still_has_a_picture():
    assert "nothing was measured" in loss_curves([])
    ET.fromstring(loss_curves([]))


@given(st.floats(-100, 100), st.floats(0.01, 1000))
def test_ticks_are_few_and_within(low, span):
    found = ticks(low, low + span)
    assert 2 <= len(found) <= 12
    assert all(low - 1e-6 * span <= tick <= low + span * (1 + 1e-6) for tick in found)


def test_smoothing_keeps_a_constant_and_starts_at_the_first_value():
    assert [y for _, y in smoothed([(x, 2.0) for x in range(50)])] == pytest.approx([2.0] * 50)
    assert smoothed([(0, 7.0), (1, 1.0)])[0] == (0, 7.0)

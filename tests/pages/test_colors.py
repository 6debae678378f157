"""Every text of a page stands out from its ground by at least 4.5 : 1, on light and on dark."""

from __future__ import annotations

import pytest

from maskkit.kinds import KINDS
from maskkit.pages.colors import DARK, ENOUGH, LEVELS, LIGHT, Theme, contrast, ground, ink, level, stripe

THEMES = pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])


def test_contrast_is_that_of_the_guidelines():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=0.001)
    assert contrast("#ffffff", "#777777") == contrast("#777777", "#ffffff")


@THEMES
@pytest.mark.parametrize("kind", KINDS)
def test_text_on_every_intensity_of_every_kind(theme: Theme, kind: str):
    for intensity in range(1, LEVELS + 1):
        assert contrast(theme.ink, ground(kind, intensity, theme)) >= ENOUGH
        assert contrast(theme.ink, stripe(kind, intensity, theme)) >= ENOUGH
    assert contrast(ink(kind, theme), theme.panel) >= ENOUGH
    assert contrast(ink(kind, theme), theme.ground) >= ENOUGH


@THEMES
def test_all_other_text(theme: Theme):
    for color in (theme.ink, theme.muted, theme.accent, theme.alarm):
        assert contrast(color, theme.panel) >= ENOUGH
        assert contrast(color, theme.ground) >= ENOUGH


@THEMES
@pytest.mark.parametrize("kind", KINDS)
def test_more_weight_is_a_stronger_ground(theme: Theme, kind: str):
    steps = [contrast(ground(kind, intensity, theme), theme.panel) for intensity in range(1, LEVELS + 1)]
    assert steps == sorted(steps)
    assert len(set(steps)) == LEVELS


def test_intensity_of_a_weight():
    assert [level(weight, 2.0) for weight in (0, 1e-9, 0.25, 1, 2, -2, 3)] == [0, 1, 1, LEVELS // 2, LEVELS, LEVELS, LEVELS]

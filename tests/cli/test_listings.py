"""``maskkit strategies`` and ``maskkit plugins``."""

from __future__ import annotations

import json
import os
import re

import pytest

import maskkit
from maskkit import plugins
from maskkit.cli.output import print_columns, print_json
from tests.cli.commands import call, refused

MODIFIERS = ["dft", "focal", "entropy", "eaft", "selective", "importance", "long-context"]
BUILT_IN = [
    "causal", "assistant-only", "reasoning-only", "weighted", "tool-calls", "prompt-weighted", "from-data", "row-weight",
    "sequence-normalised", "schedule", *MODIFIERS,
]  # fmt: skip


def test_strategies_are_listed_with_a_line_each(capsys: pytest.CaptureFixture[str]):
    out = call(capsys, "strategies").out
    names = [line.split()[0] for line in out.splitlines() if line and not line.startswith(" ")]
    assert [name for name in names if name in BUILT_IN] == BUILT_IN
    assert out.index("loss modifiers, which weigh anew") in range(out.index("schedule"), out.index("dft"))


def test_strategies_as_json(capsys: pytest.CaptureFixture[str]):
    infos = {info["name"]: info for info in call(capsys, "strategies", "--json").json}
    assert set(BUILT_IN) <= set(infos)
    assert infos["weighted"]["origin"] == "maskkit"
    assert infos["weighted"]["version"] == maskkit.__version__
    assert infos["weighted"]["doc"]
    assert (infos["weighted"]["sort"], infos["dft"]["sort"]) == ("strategy", "loss modifier")
    assert infos["weighted"]["schema"]["properties"]["reasoning"]["type"] == "number"


def test_one_strategy_with_its_options(capsys: pytest.CaptureFixture[str]):
    out = call(capsys, "strategies", "show", "weighted").out
    assert "\n  reasoning    number                   default 1.0" in out
    assert "list of {where, weight}" in out
    assert "strategy: {name: weighted, answer: 1.0}" in out
    assert call(capsys, "strategies", "show", "maskkit:weighted").out == out
    assert call(capsys, "strategies", "show", "weighted", "--json").json[0]["name"] == "weighted"


def test_what_the_example_shows_can_be_selected(capsys: pytest.CaptureFixture[str]):
    for name in BUILT_IN:
        spec = call(capsys, "strategies", "show", name).out.partition("in a config:  strategy: ")[2]
        from maskkit.config.loading import parsed_yaml

        found = maskkit.load_strategy(parsed_yaml(spec, "here"))
        assert [part.name for part in (found.modifiers if name in MODIFIERS else [found])] == [name]


def test_an_unknown_strategy(capsys: pytest.CaptureFixture[str]):
    assert refused(capsys, "strategies", "show", "wieghted").startswith("unknown strategy 'wieghted'. Did you mean 'weighted'?")


def test_plugins(capsys: pytest.CaptureFixture[str]):
    assert re.search(rf"^builtin +maskkit {re.escape(maskkit.__version__)} +causal, assistant-only", call(capsys, "plugins").out, re.M)
    built_in = call(capsys, "plugins", "--json").json[0]
    assert (built_in["origin"], built_in["status"], built_in["strategies"]) == ("maskkit", "ok", BUILT_IN)


@pytest.mark.parametrize("width", [80, 120])
def test_columns_fit_the_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int):
    monkeypatch.setenv("COLUMNS", str(width))
    for command in (["strategies"], ["strategies", "show", "weighted"], ["plugins"]):
        options = [line for line in call(capsys, *command).out.splitlines() if line.startswith(" ")]
        assert all(len(line) <= width for line in options)


def test_printed_json_is_read_back_and_safe(capsys: pytest.CaptureFixture[str]):
    value = {"text": "日本\x1b[31m\x9b\u202e\x7f🎉"}
    print_json(value)
    out = capsys.readouterr().out
    assert json.loads(out) == value
    assert "日本" in out
    assert not set("\x1b\x9b\u202e\x7f") & set(out)


def test_columns_of_nothing(capsys: pytest.CaptureFixture[str]):
    print_columns([])
    assert capsys.readouterr().out == ""


def test_plugins_are_switched_off_anywhere_in_a_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(plugins.OFF, "")
    for command in (["-p", "no:absent", "plugins"], ["plugins", "-p", "no:absent", "--json"]):
        plugins.registry.cache_clear()
        assert call(capsys, *command).status == 0
        assert os.environ[plugins.OFF] == "absent"
    plugins.registry.cache_clear()


@pytest.mark.parametrize("arguments", [["-p"], ["-p", "absent"], ["-p", "no:"], ["-p", "no:builtin"]])
def test_a_switch_that_says_no_plugin(capsys: pytest.CaptureFixture[str], arguments: list[str]):
    assert "plugin" in refused(capsys, "strategies", *arguments)


def test_a_misplaced_json_is_not_passed_over(capsys: pytest.CaptureFixture[str]):
    assert "strategies show NAME --json" in refused(capsys, "strategies", "--json", "show", "weighted")

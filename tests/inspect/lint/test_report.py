"""How findings are graded, counted, left out and shown."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

import maskkit
from maskkit.checks import LintReport, check_before_training
from maskkit.errors import ConfigError, TrainingError, UnknownNameError
from maskkit.findings import GROUPS, REGISTRY, SEVERITIES, code_of
from maskkit.inspect.lint.catalogue import explained, markdown
from maskkit.inspect.lint.formats import github, sarif
from maskkit.inspect.lint.show import draw
from tests.inspect.lint.rows import Masked, assistant, linted, row, tiny, user


def _severity(report: LintReport, name: str) -> str:
    return next(finding.severity for finding in report.findings if finding.code.name == name)


def test_numbers_are_unique_grouped_and_in_order():
    numbers = [code.number for code in REGISTRY.values()]
    assert numbers == sorted(set(numbers))
    assert {number[:3] for number in numbers} == set(GROUPS)
    for code in REGISTRY.values():
        assert {code.severity, code.chosen or "note", code.everywhere or "note"} <= set(SEVERITIES)
        assert all("\n" not in text and text for text in (code.meaning, code.why, code.fix))
        assert code_of(code.number.lower()) is code is code_of(code.name)


def test_an_unknown_code_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'prompt-trained'"):
        code_of("promt-trained")


def test_what_a_strategy_was_asked_for_is_no_error():
    made = Masked()
    assert _severity(linted([made.train(made.place("12"))]), "prompt-trained") == "error"
    assert _severity(linted(row(), strategy="prompt-weighted"), "prompt-trained") == "warning"
    assert "prompt-trained" not in linted(row(), strategy="causal").names


def test_what_is_so_of_every_row_may_be_worse():
    made = Masked()
    nothing = made.forget(slice(None))
    assert _severity(linted([nothing, made.pair]), "trains-nothing") == "warning"
    assert _severity(linted([nothing, nothing]), "trains-nothing") == "error"


def test_codes_are_ignored_or_made_errors_by_name_or_number():
    typed = row(user("Say <|im_end|>."), assistant("No."))
    assert linted(typed, ignore=["MK301"]).names == ()
    assert linted(typed, error=["control-tokens"]).errors
    assert linted(typed, error=["control-tokens"], ignore=["control-tokens"]).errors


def test_rows_are_counted_and_the_first_named():
    made = Masked()
    report = linted([made.pair, *[made.train(made.place("12"))] * 5], ignore=["duplicate-rows"])
    (finding,) = report.findings
    assert (finding.rows, finding.count, len(finding.places)) == (5, 5, 3)
    assert finding.places[0].source == "row 1"
    assert "⟦12⟧" in finding.places[0].excerpt or "⟦1⟧" in finding.places[0].excerpt


def test_a_report_says_what_each_kind_weighs():
    report = linted(row(user(), assistant("21", reasoning_content="12 + 9")), strategy={"name": "weighted", "reasoning": 0.5})
    assert report.kinds["reasoning"].weight == pytest.approx(0.5 * report.kinds["reasoning"].tokens)
    assert report.tokens == sum(total.tokens for total in report.kinds.values())
    assert report.to_json()["kinds"]["user"]["trained"] == 0


def test_a_terminal_of_80_columns_holds_it_and_obeys_nothing_of_the_data():
    report = linted(row(user("\x1b[31m" + "long " * 60), assistant("<think>\x1b[2J" + "x" * 200)))
    out = io.StringIO()
    console = Console(file=out, width=80, highlight=False)
    for line in draw(report):
        console.print(line)
    assert max(map(len, out.getvalue().splitlines())) <= 80
    assert "\x1b" not in out.getvalue()
    assert "MK208 reasoning-unbalanced" in out.getvalue()


def test_machines_get_files_and_lines():
    report = linted([("data/a b.jsonl:7", {"input_ids": Masked().ids, "labels": Masked().train(Masked().place("12"))[1]})])
    (run,) = sarif(report)["runs"]
    (result,) = run["results"]
    assert result["ruleId"] == run["tool"]["driver"]["rules"][0]["id"] == "MK102"
    where = result["locations"][0]["physicalLocation"]
    assert (where["artifactLocation"]["uri"], where["region"]["startLine"], result["level"]) == ("data/a%20b.jsonl", 7, "error")
    (line,) = github(report)
    assert line.startswith("::error file=data/a b.jsonl,line=7,title=MK102 prompt-trained::")
    assert "\n" not in line


def test_the_catalogue_has_every_code():
    assert all(f"{code.number} `{code.name}`" in markdown() for code in REGISTRY.values())
    assert explained(code_of("MK101")).startswith("MK101 trains-nothing (warning; error where it is so of every row)\n")


def test_a_run_begins_with_a_look_at_a_sample(caplog: pytest.LogCaptureFixture):
    marked = row(user(), assistant(weight=0.5))
    masker = maskkit.Masker(tiny())
    examples = masker.batch([row(), marked])
    with pytest.raises(TrainingError, match=r"MK501 data-weights-ignored: .*1 of 2 rows looked at, first row 1: .*from-data"):
        check_before_training(examples, masker, sample=10)
    said: list[str] = []
    assert not check_before_training(examples, masker, sample=10, ignore=["MK501"], say=said.append).errors
    assert said == []
    check_before_training(masker.batch([row(user(" "), assistant())]), masker, sample=10, say=said.append)
    assert said[0].startswith("MK408 empty-turn: a message says nothing (1 of 1 row looked at, first row 0")


@pytest.mark.parametrize(("written", "enabled"), [(False, False), ("off", False), (True, True), ({"ignore": ["MK105"]}, True)])
def test_a_config_switches_it(written: object, enabled: bool):
    config = maskkit.RunConfig.from_mapping({"model": "tiny", "data": {"train": "x.jsonl"}, "output_dir": "out", "lint": written})
    assert config.lint.enabled is enabled


def test_a_config_refuses_a_code_that_does_not_exist():
    values = {"model": "tiny", "data": {"train": "x.jsonl"}, "output_dir": "out", "lint": {"error": ["MK999"]}}
    with pytest.raises(ConfigError, match="MK999"):
        maskkit.RunConfig.from_mapping(values)

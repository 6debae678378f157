"""``maskkit check strategy``: the conformance checks from the command line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from maskkit.testing import CHECKS, MODIFIER_CHECKS
from tests.cli.commands import call, refused


def test_a_sound_strategy(capsys: pytest.CaptureFixture[str]):
    done = call(capsys, "check", "strategy", "{name: assistant-only, stop: 0.5}")
    assert done.status == 0
    *found, blank, speed = done.out.splitlines()
    assert [line.split("  ")[0] for line in found] == [check.__name__.replace("_", " ") for check in CHECKS]
    assert all(line.endswith(" ok") for line in found)
    assert blank == ""
    assert re.fullmatch(r"[\d,]+ µs per 1000 tokens, \d+\.\d times what assistant-only takes", speed)


def test_a_loss_modifier(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    done = call(capsys, "check", "strategy", "{name: focal, gamma: 1.0}")
    assert done.status == 0
    assert [line.split("  ")[0] for line in done.out.splitlines()] == [check.__name__.replace("_", " ") for check in MODIFIER_CHECKS]
    assert all(line.endswith(" ok") for line in done.out.splitlines())
    source = "import maskkit\n\n\nclass Mine(maskkit.LossModifier):\n    def reweight(self, scores, base):\n        return -base\n"
    (tmp_path / "mine.py").write_text(source)
    done = call(capsys, "check", "strategy", f"{tmp_path}/mine.py:Mine", "--json")
    assert done.status == 1
    assert "declare signed = True" in done.json["gives_one_weight_per_token"]


def test_a_strategy_that_fails_one_check(capsys: pytest.CaptureFixture[str]):
    done = call(capsys, "check", "strategy", "causal", "--json")
    assert done.status == 1
    assert [name for name, problem in done.json.items() if problem] == ["leaves_scaffolding_alone"]
    assert call(capsys, "check", "strategy", "causal", "--scaffolding").status == 0


def test_what_a_strategy_declares(capsys: pytest.CaptureFixture[str]):
    assert call(capsys, "check", "strategy", "{name: row-weight, column: quality}", "--columns", "{quality: 0.5}").status == 0
    assert call(capsys, "check", "strategy", "sequence-normalised", "--whole-row").status == 0
    assert "expected a mapping" in refused(capsys, "check", "strategy", "causal", "--columns", "3")
    assert "Did you mean 'causal'" in refused(capsys, "check", "strategy", "casual")


def test_a_strategy_in_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    (tmp_path / "mine.py").write_text(
        "import maskkit\n\n\nclass Mine(maskkit.Strategy):\n    def weights(self, tokens):\n        return [1.0] * 3\n"
    )
    done = call(capsys, "check", "strategy", f"{tmp_path}/mine.py:Mine", "--json")
    assert done.status == 1
    assert "expected (26,): one weight per token" in done.json["gives_one_weight_per_token"]


READS_A_COLUMN = """
import maskkit


class Mine(maskkit.Strategy):
    \"\"\"Train answers by the quality of their row.\"\"\"

    def weights(self, tokens):
        return tokens.record.row["quality"] * tokens.where(kind="answer")
"""


@pytest.mark.parametrize("columns_on_the_strategy", [False, True])
def test_a_column_that_the_rows_of_the_checks_lack_is_told_once_with_what_to_do(
    columns_on_the_strategy: bool, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    own = '    columns = {"quality": 0.5}\n\n    def weights' if columns_on_the_strategy else "    def weights"
    (tmp_path / "mine.py").write_text(READS_A_COLUMN.replace("    def weights", own))
    selection = f"{tmp_path}/mine.py:Mine"
    said = " ".join(call(capsys, "check", "strategy", selection).out.split())
    assert said.count("KeyError: 'quality'") == 1
    assert said.count("the same as 'survives a config'") == 6
    assert "maskkit check strategy --columns '{quality: ...}'" in said
    assert ("columns of the strategy itself are not read" in said) == columns_on_the_strategy
    assert call(capsys, "check", "strategy", selection, "--columns", "{quality: 0.5}").status == 0


def test_another_key_error_is_no_missing_column(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    (tmp_path / "mine.py").write_text(READS_A_COLUMN.replace('tokens.record.row["quality"]', '{}["messages"]'))
    said = call(capsys, "check", "strategy", f"{tmp_path}/mine.py:Mine").out
    assert "KeyError" in said
    assert "column of the row" not in said

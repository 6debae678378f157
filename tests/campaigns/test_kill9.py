"""A sample of the campaign `tests.campaigns.kill9`; its whole record stands in kill9.txt."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the campaign forks")
def test_a_killed_run_ends_as_if_it_had_not_been():
    command = [sys.executable, "-m", "tests.campaigns.kill9", "--kills", "3", "--seed", "4"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 not" in done.stdout
    assert "while saving" in done.stdout

"""The examples run as a reader would run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(script: str, *arguments: str) -> str:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "NO_COLOR": "1"}
    done = subprocess.run([sys.executable, EXAMPLES / script, *arguments], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_own_loop_is_short_and_learns():
    assert len((EXAMPLES / "own_loop.py").read_text().splitlines()) < 40
    losses = [float(loss) for loss in re.findall(r"loss (\d+\.\d+)", run("own_loop.py"))]
    assert losses[-1] < 0.7 * losses[0]


def test_from_a_base_model_to_a_chat_model(tmp_path: Path):
    printed = run("base_to_chat.py", "--steps", "30", "--output-dir", str(tmp_path))
    replies = dict(re.findall(r"^(base|chat) model: (.*)$", printed, re.M))
    assert set(replies) == {"base", "chat"}
    assert replies["base"] != replies["chat"]
    assert "<think>" in replies["chat"], "the chat model replies in the form it was shown"
    assert "<think>" not in replies["base"], "the base model has never seen a chat"

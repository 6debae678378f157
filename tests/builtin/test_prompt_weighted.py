"""``prompt-weighted``: a weight for the prompt, one for the response."""

from __future__ import annotations

from tests.builtin.weighing import weigh
from tests.tables import make_tokens

TABLE = make_tokens(
    [
        ("template", False, 0), ("system", False, 0), ("template", False, 1), ("user", False, 1),
        ("answer", False, 2), ("reasoning", True, 2), ("answer", True, 2), ("stop", True, 2), ("template", False, 2),
        ("user", False, 3), ("answer", True, 4), ("stop", True, 4),
    ],
    ("system", "user", "assistant", "user", "assistant"),
)  # fmt: skip


def test_the_prompt_counts_a_tenth_of_the_response():
    assert weigh("prompt-weighted", TABLE) == [0.1] * 5 + [1, 1, 1, 0.1, 0.1, 1, 1]


def test_weighted_instruction_tuning_varies_both():
    spec = {"name": "prompt-weighted", "prompt": 0.25, "response": 0.5, "stop": 0.75, "template": 0}
    assert weigh(spec, TABLE) == [0, 0.25, 0, 0.25, 0.25, 0.5, 0.5, 0.75, 0, 0.25, 0.5, 0.75]


def test_the_last_response_only():
    assert weigh({"name": "prompt-weighted", "prompt": 0, "last_turn": True}, TABLE) == [0] * 10 + [1, 1]


def test_with_a_prompt_of_weight_0_it_is_assistant_only():
    assert weigh({"name": "prompt-weighted", "prompt": 0}, TABLE) == weigh("assistant-only", TABLE)

"""What a small model learns from text: masker, collator and loss in a plain loop of five steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from maskkit import DataCollator, Masker, embedded, weighted_cross_entropy

TOKENIZER = embedded.tiny_tokenizer()


def small_model() -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4}
    return LlamaForCausalLM(LlamaConfig(vocab_size=len(TOKENIZER), initializer_range=0.08, tie_word_embeddings=True, **sizes))


def learn(model: Any, rows: list[dict], strategy: str, steps: int, watch: Callable[[], float] = lambda: 0.0) -> list[float]:
    """Trains on all rows at each step; returns what was watched after each."""
    batch = DataCollator(TOKENIZER)(Masker(TOKENIZER, strategy).batch(rows))  # take a batch
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.0)
    watched = []
    for _ in range(steps):
        logits = model(batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits  # predict every position
        weighted_cross_entropy(logits, batch["labels"], batch["loss_weights"]).backward()  # cross-entropy, weights
        optimizer.step()  # update
        optimizer.zero_grad()
        watched.append(watch())
    return watched


def next_token(model: Any, text: str) -> torch.Tensor:
    """Probabilities [V] of the token after a text."""
    with torch.no_grad():
        return torch.softmax(model(torch.tensor([TOKENIZER(text)["input_ids"]]), use_cache=False).logits[0, -1].double(), -1)


def first_id(text: str) -> int:
    return TOKENIZER(text)["input_ids"][0]


def asked(question: str) -> str:
    return TOKENIZER.apply_chat_template([{"role": "user", "content": question}], add_generation_prompt=True, tokenize=False)


def replied(model: Any, prompt: str, length: int = 12) -> str:
    """The greedy reply, up to its stop token."""
    ids = TOKENIZER(prompt)["input_ids"]
    for _ in range(length):
        ids.append(int(next_token(model, TOKENIZER.decode(ids)).argmax()))
        if ids[-1] == TOKENIZER.eos_token_id:
            break
    return TOKENIZER.decode(ids)[len(prompt) :]


SUMS = [(a, b) for a in range(2, 5) for b in range(2, 5)]


def test_two_answer_formats_are_learned_in_their_proportion_and_both_are_right():
    """Loss is local: at the first token the text is 7 : 3 undecided. Learning is global: whichever is taken, what follows is right."""
    rows = []
    for a, b in SUMS:
        for number in range(10):
            answer = f"{a + b}" if number < 7 else f"It is {a + b}."
            rows.append({"messages": [{"role": "user", "content": f"{a}+{b}"}, {"role": "assistant", "content": answer}]})
    model = small_model()
    learn(model, rows, "assistant-only", 100)
    for a, b in SUMS:
        prompt = asked(f"{a}+{b}")
        first = next_token(model, prompt)
        assert first[first_id("It")].item() == pytest.approx(0.3, abs=0.05)
        assert first[first_id(str(a + b))].item() == pytest.approx(0.7, abs=0.05)
        assert replied(model, prompt) == f"{a + b}<|im_end|>"
        assert replied(model, prompt + "It") == f" is {a + b}.<|im_end|>"


@pytest.mark.parametrize(
    ("context", "usual", "same_meaning"),
    [("The capital of France is", " Paris.", " the city of light."), ("フランスの首都は", "パリです。", "花の都です。")],
)
def test_a_model_that_knows_better_is_penalised_for_the_text_it_is_shown(context: str, usual: str, same_meaning: str):
    model = small_model()
    learn(model, [{"text": context + usual}], "causal", 40)
    paris, other = first_id(usual), first_id(same_meaning)
    assert next_token(model, context)[paris] > 0.9

    def loss_on(ending: str) -> float:
        ids = TOKENIZER(context + ending)["input_ids"]
        at = len(TOKENIZER(context)["input_ids"])
        logits = model(torch.tensor([ids]), use_cache=False).logits
        weights = torch.zeros(1, len(ids))
        weights[0, at] = 1  # the first token of the ending alone
        return weighted_cross_entropy(logits, torch.tensor([ids]), weights).item()

    assert loss_on(usual) < 0.11
    assert loss_on(same_meaning) > 3
    assert loss_on(same_meaning) == pytest.approx(-math.log(next_token(model, context)[other].item()), rel=1e-4)
    learn(model, [{"text": context + same_meaning}], "causal", 40)
    assert next_token(model, context)[other] > next_token(model, context)[paris], "and the text, not the meaning, is what it learns"


def test_the_probability_of_the_true_token_rises_from_chance_to_certainty():
    model = small_model()
    row = {"messages": [{"role": "user", "content": "2+3"}, {"role": "assistant", "content": "5"}]}
    prompt, five = asked("2+3"), first_id("5")
    before = next_token(model, prompt)[five].item()
    path = learn(model, [row], "assistant-only", 30, lambda: next_token(model, prompt)[five].item())
    assert before < 10 / len(TOKENIZER)
    assert path[-1] > 0.95
    assert path[4] < path[9] < path[-1]

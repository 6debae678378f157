"""The numbers and pictures with which next-token training is taught, each one true of this code."""

from __future__ import annotations

import math

import pytest
import torch

from maskkit import Masker, embedded
from maskkit.batching import DataCollator
from maskkit.engine.loop import training_loop
from maskkit.loss import weighted_cross_entropy
from tests.engine.small import small_run
from tests.reference import VOCABULARY, Row, as_example, ragged_rows, tiny_llama


def logits_with(*probabilities: float, vocabulary: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [1, T + 1, V] that give the true next token these probabilities, and the ids: token t is t."""
    length = len(probabilities) + 1
    logits = torch.zeros(1, length, vocabulary, dtype=torch.float64)
    for position, p in enumerate(probabilities):
        logits[0, position] = math.log((1 - p) / (vocabulary - 1))
        logits[0, position, position + 1] = math.log(p)
    return logits, torch.arange(length)[None]


@pytest.mark.parametrize(("p", "loss"), [(0.78, 0.25), (0.99, 0.01), (0.01, 4.61)])
def test_cross_entropy_of_a_probability(p, loss):
    logits, ids = logits_with(p)
    assert round(weighted_cross_entropy(logits, ids, torch.ones(1, 2)).item(), 2) == loss


def test_the_loss_of_a_sequence_is_the_weighted_mean_over_its_positions():
    probabilities, weights = [0.78, 0.99, 0.01], [1.0, 0.5, 0.1]
    logits, ids = logits_with(*probabilities)
    mean = -sum(w * math.log(p) for w, p in zip(weights, probabilities, strict=True)) / sum(weights)
    assert weighted_cross_entropy(logits, ids, torch.tensor([[9.0, *weights]])).item() == pytest.approx(mean, abs=1e-7)


def test_with_equal_weights_it_is_the_plain_mean():
    logits, ids = logits_with(0.78, 0.99, 0.01)
    assert weighted_cross_entropy(logits, ids, torch.ones(1, 4)).item() == pytest.approx((0.2485 + 0.0101 + 4.6052) / 3, abs=1e-4)


def test_a_position_sees_itself_and_what_is_before_it_the_lower_triangle():
    model = tiny_llama(attn_implementation="eager")
    ids = torch.randint(3, VOCABULARY, (1, 9))
    for attention in model(ids, output_attentions=True, use_cache=False).attentions:
        visible = attention[0].detach() > 0
        assert torch.equal(visible, torch.ones(9, 9, dtype=torch.bool).tril().expand_as(visible))


@pytest.mark.parametrize("edited", [0, 4, 8])
def test_editing_a_token_moves_no_logit_before_it(edited):
    model = tiny_llama()
    ids = torch.randint(3, VOCABULARY, (1, 9))
    changed = ids.clone()
    changed[0, edited] = (ids[0, edited] + 1) % VOCABULARY
    with torch.no_grad():
        before, after = model(ids, use_cache=False).logits[0], model(changed, use_cache=False).logits[0]
    assert torch.equal(before[:edited], after[:edited])
    assert all(not torch.equal(before[position], after[position]) for position in range(edited, 9))


def test_an_untrained_model_is_about_as_uncertain_as_a_draw_from_the_vocabulary():
    class Padding:
        pad_token_id = 0

    model, rows = tiny_llama(), ragged_rows()
    batch = DataCollator(Padding())([as_example(row) for row in rows])
    logits = model(batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits
    loss = weighted_cross_entropy(logits, batch["labels"], batch["loss_weights"])
    assert loss.item() == pytest.approx(math.log(VOCABULARY), abs=0.15)


CHAT = {
    "messages": [
        {"role": "user", "content": "What is 2 + 3?"},
        {"role": "assistant", "reasoning_content": "2 and 3 make 5.", "content": "It is 5."},
    ]
}


def test_assistant_only_is_causal_training_with_selective_scoring():
    """The model reads the same tokens with the same attention, so it predicts the same; only which predictions count differs."""
    tokenizer = embedded.tiny_tokenizer()
    model = tiny_llama(vocab_size=len(tokenizer))
    everything, reply = (DataCollator(tokenizer)([Masker(tokenizer, strategy)(CHAT)]) for strategy in ("causal", "assistant-only"))
    logits = [model(batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits for batch in (everything, reply)]
    assert torch.equal(*logits)
    assert everything["loss_weights"][0].tolist() == [0.0] + [1.0] * (everything["input_ids"].shape[1] - 1)
    assert 0 < reply["loss_weights"].sum() < everything["loss_weights"].sum()
    per_token = torch.nn.functional.cross_entropy(logits[0][0, :-1], everything["input_ids"][0, 1:], reduction="none")
    chosen = reply["loss_weights"][0, 1:] > 0
    loss = weighted_cross_entropy(logits[1], reply["labels"], reply["loss_weights"])
    assert loss.item() == pytest.approx(per_token[chosen].mean().item(), abs=1e-12)


@pytest.mark.parametrize(
    ("context", "believed", "written"),
    [("The capital of France is", " Paris", " the city of light"), ("フランスの首都は", "パリ", "花の都")],
)
def test_a_right_meaning_is_still_penalised_when_the_text_says_it_otherwise(context, believed, written):
    """Cross-entropy asks for the token that stands in the text, not for one that means the same."""
    tokenizer = embedded.tiny_tokenizer()
    start, paris, other = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (context, believed, written))
    assert paris[0] != other[0]

    def loss_of(word: int) -> float:
        ids = torch.tensor([[*start, word]])
        logits = torch.zeros(1, ids.shape[1], len(tokenizer), dtype=torch.float64)
        logits[0, len(start) - 1] = math.log(0.05 / (len(tokenizer) - 1))
        logits[0, len(start) - 1, paris[0]] = math.log(0.95)  # the model is sure of the capital
        weights = torch.zeros(ids.shape)
        weights[0, -1] = 1
        return weighted_cross_entropy(logits, ids, weights).item()

    assert loss_of(paris[0]) == pytest.approx(-math.log(0.95))
    assert loss_of(other[0]) > 9


def test_mixed_formats_are_learned_in_their_proportion_and_answers_stay_right(tmp_path):
    """Loss is local, learning is global: of each question's answers 7 of 10 are short and 3 are long, and both become known."""
    short, long, stop = 10, 20, 2
    asked = [30, 31, 32, 33]
    answer = {question: question + 20 for question in asked}

    def row(question: int, opening: int) -> Row:
        ids = torch.tensor([1, question, opening, answer[question], stop])
        return Row(ids, torch.tensor([0.0, 0, 1, 1, 1]))

    rows = [row(question, short if number < 7 else long) for question in asked for number in range(10)]
    model = tiny_llama()
    at_first = torch.softmax(model(torch.tensor([[1, 30]]), use_cache=False).logits[0, -1], -1)[short].item()
    how = {"micro": 40, "rows_per_step": 40, "steps": 120, "learning_rate": 0.01, "optimizer_class": torch.optim.AdamW}
    run = small_run(tmp_path, rows, model=model, **how)
    training_loop(run)
    with torch.no_grad():
        for question in asked:
            openings = torch.softmax(model(torch.tensor([[1, question]]), use_cache=False).logits[0, -1], -1)
            assert openings[short].item() == pytest.approx(0.7, abs=0.03)
            assert openings[long].item() == pytest.approx(0.3, abs=0.03)
            for opening in (short, long):
                after = model(torch.tensor([[1, question, opening]]), use_cache=False).logits[0, -1]
                assert after.argmax().item() == answer[question]
    assert at_first < 0.05
    # what is left is exactly the uncertainty about the format, spread over the three trained tokens
    entropy = -(0.7 * math.log(0.7) + 0.3 * math.log(0.3))
    assert run.losses[-1] == pytest.approx(entropy / 3, abs=0.02)

"""Questions are cut where the model would begin to write, and what it writes is compared with the reference answer."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from maskkit import Masker, embedded
from maskkit.batching import DataCollator
from maskkit.engine.answers import Question, accuracy, greedy_answers, question_of, stop_ids
from maskkit.engine.batches import Batcher
from maskkit.engine.predict import Predictor
from maskkit.engine.rows import StoredRows
from maskkit.loss import Normalizer, weighted_sum

TOKENIZER = embedded.tiny_tokenizer()
END = TOKENIZER.convert_tokens_to_ids("<|im_end|>")


def chat(question: str, answer: str, reasoning: str = "", **more):
    reply = (
        {"role": "assistant", "reasoning_content": reasoning, "content": answer} if reasoning else {"role": "assistant", "content": answer}
    )
    return {"messages": [{"role": "user", "content": question}, reply], **more}


ROWS = [
    chat("2+3?", "5", "2 and 3 make 5."),
    chat("今は8時40分です。10分後は何時何分ですか。", "8時50分", "40+10=50。"),
    chat("Say hi.", "hi"),
]


def question(row, **options) -> Question:
    return question_of(Masker(TOKENIZER, **options)(row))


def test_the_prompt_is_what_the_template_gives_before_a_reply():
    found = question(ROWS[0])
    expected = TOKENIZER.apply_chat_template(ROWS[0]["messages"][:1], add_generation_prompt=True, tokenize=True, return_dict=False)
    assert list(found.prompt_ids) == expected
    assert found.reference == "5"
    assert found.reasoning_end == "</think>"


def test_a_row_without_reasoning_has_nothing_to_close():
    assert question(ROWS[2]).reasoning_end == ""


def test_the_last_answer_is_asked_with_everything_before_it():
    row = chat("2+3?", "5")
    row["messages"] += chat("And 4+4?", "8")["messages"]
    found = question(row)
    assert found.reference == "8"
    assert "5" in found.prompt
    assert found.prompt.endswith("assistant\n")


def test_rows_without_an_answer_ask_nothing():
    assert question({"messages": [{"role": "user", "content": "hello"}]}) is None


def test_an_answer_that_was_cut_cannot_be_judged():
    tokens = Masker(embedded.tiny_tokenizer())(ROWS[1]).tokens
    answer = tokens.where(kind="answer").nonzero()[0]
    assert question(ROWS[1], max_length=len(tokens)) is not None
    assert question(ROWS[1], max_length=int(answer[0])) is None, "nothing of it is left"
    assert question(ROWS[1], max_length=int(answer[-1]) + 1) is None, "where it ends is not known"


def test_plain_text_is_continued_and_never_judged():
    found = question({"text": "Once upon a time there was a small model that learned to count."}, strategy="causal")
    assert found.reference is None
    assert 1 <= len(found.prompt_ids) <= 16


def test_a_prompt_with_its_completion_is_a_question_too():
    found = question({"prompt": "2+3=", "completion": "5"})
    assert (found.prompt, found.reference) == ("2+3=", "5")


def test_stop_tokens_are_those_of_the_data_and_the_tokenizer():
    assert set(stop_ids(StoredRows([Masker(TOKENIZER)(ROWS[0])]).stop_ids, TOKENIZER)) == {END, TOKENIZER.eos_token_id}


@pytest.fixture(scope="module")
def learned() -> Predictor:
    """A tiny model that has learned `ROWS` by heart."""
    torch.manual_seed(0)
    shape = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    predict = Predictor(LlamaForCausalLM(LlamaConfig(vocab_size=len(TOKENIZER), pad_token_id=0, **shape)))
    masker = Masker(TOKENIZER)
    examples = [masker(row) for row in ROWS]
    batch = Batcher(DataCollator(TOKENIZER), Normalizer(), len(ROWS), predict.device)([[[e] for e in examples]])[0]
    optimizer = torch.optim.AdamW(predict.model.parameters(), lr=5e-3)
    for _ in range(80):
        loss = weighted_sum(predict(batch.tensors, batch.entries), batch.coefficients) / batch.denominator
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return predict


def ask(learned: Predictor, rows, **options):
    return greedy_answers(learned, TOKENIZER, [question(row) for row in rows], [END], **options)


def test_what_was_learned_is_answered_and_found_correct(learned):
    answers = ask(learned, ROWS, max_new_tokens=64)
    assert [answer.answer for answer in answers] == ["5", "8時50分", "hi"]
    assert [answer.correct for answer in answers] == [True] * 3
    assert answers[0].completion == "<think>2 and 3 make 5.</think>5"
    assert all(answer.stopped for answer in answers)
    assert accuracy(answers) == 1.0


def test_answers_do_not_depend_on_the_batch_they_are_made_in(learned):
    assert ask(learned, ROWS, batch_size=1) == ask(learned, ROWS, batch_size=3)


def test_another_reference_is_wrong(learned):
    answers = ask(learned, [chat("2+3?", "6", "x"), ROWS[2]])
    assert [answer.correct for answer in answers] == [False, True]
    assert accuracy(answers) == 0.5


def test_a_reply_that_does_not_end_is_cut_and_says_so(learned):
    answer = ask(learned, ROWS[:1], max_new_tokens=3)[0]
    assert (answer.stopped, answer.correct) == (False, False)


def test_without_references_there_is_no_accuracy():
    assert accuracy([]) is None

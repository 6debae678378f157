"""What does the model reply? Greedy answers to held-out prompts, compared with the reference answer.

A prompt is everything before the first token that the model itself would emit in its last answering turn, exactly the ids it was trained
on. The answer is what follows the reasoning.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from maskkit.chat.markup import REASONING_TAGS
from maskkit.engine.distributed import ALONE
from maskkit.engine.predict import Predictor
from maskkit.engine.sharding import Sharding
from maskkit.masker import Example
from maskkit.records import reasoning_of
from maskkit.tokens import Tokens

PLAIN_PROMPT_TOKENS = 16
"""At most so many tokens of a plain text are given to be continued."""


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt with its reference."""

    source: str
    """Names the row."""
    prompt_ids: tuple[int, ...]
    prompt: str
    reference: str | None
    """The reference answer; None for plain text, which has none."""
    reasoning_end: str = ""
    """What closes the reasoning in the reference (such as ``</think>``); empty where the row has no reasoning."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model replied to a question."""

    source: str
    prompt: str
    completion: str
    """Everything the model wrote, without the stop token."""
    answer: str
    """The part after the reasoning."""
    reference: str | None
    correct: bool | None
    """Answer and reference are equal, blanks around them aside; None where there is no reference."""
    stopped: bool
    """The model ended its turn itself, within the allowed number of tokens."""

    def row(self) -> dict[str, Any]:
        """The answer as a line of samples.jsonl."""
        return asdict(self)


def question_of(example: Example) -> Question | None:
    """The last answer of the example as a question; None where no answer of the model begins in it, or the answer was cut."""
    tokens = example.tokens
    if tokens.record.form == "text" or not tokens.record.attributed:
        return _continuation(tokens)
    answer = np.flatnonzero(tokens.where(kind="answer"))
    if not len(answer) or any(finding.code == "truncated" for finding in example.warnings):
        return None
    message = int(tokens.message[answer[-1]])
    in_turn = np.flatnonzero(tokens.generated & (tokens.message == message))
    answer = answer[tokens.message[answer] == message]
    first = int(in_turn[0])
    return Question(
        source=tokens.record.source,
        prompt_ids=tuple(tokens.ids[:first].tolist()),
        prompt=tokens.text[: tokens.char_start[first]],
        reference=tokens.text[tokens.char_start[answer[0]] : tokens.char_end[answer[-1]]],
        reasoning_end=_reasoning_end(tokens, message),
    )


def stop_ids(seen: Iterable[int], tokenizer: Any) -> list[int]:
    """Ids that end a turn: the tokenizer's end of sequence, and every stop token that the data shows."""
    return sorted(set(seen) | ({tokenizer.eos_token_id} - {None}))


def greedy_answers(
    predict: Predictor,
    tokenizer: Any,
    questions: Sequence[Question],
    stops: Sequence[int],
    *,
    max_new_tokens: int = 256,
    batch_size: int = 16,
    sharding: Sharding | None = None,
) -> list[Answer]:
    """The most probable reply, token by token, to each question, in the order given. Prompts are padded on the left.

    sharding: how the model lies on several ranks, which share the questions; all answers are returned on each.
    """
    ranks, together = (sharding.ranks, sharding.sharded) if sharding else (ALONE, False)
    order = sorted(range(len(questions)), key=lambda number: len(questions[number].prompt_ids))
    parts = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    answers: dict[int, Answer] = {}
    with predict.evaluating():
        for part in ranks.part(parts):
            replies = _generate(predict, [questions[number].prompt_ids for number in part], stops, max_new_tokens, together)
            answers |= {number: _answer(questions[number], reply, stops, tokenizer) for number, reply in zip(part, replies, strict=True)}
        if together and len(ranks.part(parts)) < ranks.largest_part(len(parts)):
            _generate(predict, [[0]], stops, 1, together)  # parameters are gathered from all ranks, so all have to generate
    if sharding:
        sharding.spread()
    answers = {number: answer for some in ranks.collect(answers) for number, answer in some.items()}
    return [answers[number] for number in range(len(questions))]


def accuracy(answers: Sequence[Answer]) -> float | None:
    """Share of the answers with a reference that are exactly right; None where none has a reference."""
    judged = [answer.correct for answer in answers if answer.correct is not None]
    return sum(judged) / len(judged) if judged else None


def _generate(
    predict: Predictor, prompts: Sequence[Sequence[int]], stops: Sequence[int], max_new_tokens: int, together: bool
) -> list[list[int]]:
    """together: all ranks generate at once, and go on for as long as one of them does."""
    from transformers import GenerationConfig

    width = max(map(len, prompts))
    filler = stops[0] if stops else 0  # masked on the left, and past the end of a finished row
    ids = torch.tensor([[filler] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=predict.device)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=predict.device)
    # a config of our own: the model's may sample, forbid repetition or stop elsewhere
    greedy = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=False, num_beams=1, max_new_tokens=max_new_tokens, eos_token_id=list(stops) or None, pad_token_id=filler, use_cache=True
    )
    output = predict.model.generate(input_ids=ids, attention_mask=mask, generation_config=greedy, synced_gpus=together)
    return output[:, width:].tolist()  # type: ignore[no-any-return]


def _answer(question: Question, reply: Sequence[int], stops: Sequence[int], tokenizer: Any) -> Answer:
    end = next((place for place, token in enumerate(reply) if token in stops), None)
    completion = tokenizer.decode(reply[:end], skip_special_tokens=False, clean_up_tokenization_spaces=False)
    closing = question.reasoning_end
    answer = completion.rpartition(closing)[2] if closing else completion
    reference = question.reference
    return Answer(
        source=question.source,
        prompt=question.prompt,
        completion=completion,
        answer=answer.strip(),
        reference=None if reference is None else reference.strip(),
        correct=None if reference is None else answer.strip() == reference.strip(),
        stopped=end is not None,
    )


def _continuation(tokens: Tokens) -> Question | None:
    """The beginning of a plain text, to be continued: a quarter of it."""
    length = min(PLAIN_PROMPT_TOKENS, len(tokens) // 4)
    if length < 1:
        return None
    return Question(tokens.record.source, tuple(tokens.ids[:length].tolist()), tokens.text[: tokens.char_end[length - 1]], None)


def _reasoning_end(tokens: Tokens, message: int) -> str:
    """What the template writes between the reasoning's own text and the answer, the closing tag."""
    reasoning = np.flatnonzero(tokens.where(kind="reasoning") & (tokens.message == message))
    if not len(reasoning):
        return ""
    rendered = tokens.text[tokens.char_start[reasoning[0]] : tokens.char_end[reasoning[-1]]]
    for _, closing in REASONING_TAGS:
        if rendered.rstrip().endswith(closing):
            return closing
    messages = tokens.record.messages
    thought = (reasoning_of(messages[message]) or "").strip() if message < len(messages) else ""
    tail = rendered.rpartition(thought)[2] if thought else ""
    return tail.strip() or tail

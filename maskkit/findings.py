"""What maskkit notices about rows and masks: never silent, never only in a log.

`REGISTRY` is the one place that knows the codes. ``docs/lint.md`` and ``maskkit lint --explain`` are made from it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from maskkit.errors import UnknownNameError

Severity = Literal["error", "warning", "note"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""Worst first. An error makes training meaningless or teaches what is surely not meant."""

GROUPS = {
    "MK1": "The mask: what counts, and what does not",
    "MK2": "Template and history",
    "MK3": "Tokens and text",
    "MK4": "Rows",
    "MK5": "Weights",
}
"""What codes with the same beginning have in common."""


@dataclass(frozen=True, slots=True)
class Code:
    """One sort of finding."""

    number: str
    """``MK101``; never given to another sort."""
    name: str
    severity: Severity
    meaning: str
    """One line: what was found."""
    why: str
    """Why it matters."""
    fix: str
    """What to do."""
    chosen: Severity | None = None
    """Severity where the mask is what a strategy makes of the row, so that somebody asked for it."""
    everywhere: Severity | None = None
    """Severity where it concerns every row."""


_ALL = (
    Code(
        "MK101", "trains-nothing", "warning", "no token of the row has a weight other than zero",
        "The row costs time and teaches nothing; where all rows are like that, the loss is that of an untrained model.",
        "Look at the row with `maskkit preview`; raise max_length, or choose a strategy that trains what the row has.",
        everywhere="error",
    ),
    Code(
        "MK102", "prompt-trained", "error", "text of the prompt (system, user or tool result) is trained",
        "The model learns to write what others say to it, and the answers are a small part of the loss.",
        "Train the replies only: strategy assistant-only, or the option of your trainer that masks prompts.", chosen="warning",
    ),
    Code(
        "MK103", "header-trained", "error", "text that the template writes around messages (role headers, separators) is trained",
        "The model never writes it itself: it learns to go on with another turn, or to repeat its own header.",
        "Begin the mask behind the assistant's header and end it with the stop token.", chosen="warning",
    ),
    Code(
        "MK104", "prefill-trained", "error", "text that the prompt supplies at the beginning of a reply (as an opened <think>) is trained",
        "At inference it stands in the prompt already; trained, it comes twice.",
        "Give it weight 0, or say by chat_template_kwargs (enable_thinking) that the prompt does not supply it.", chosen="warning",
    ),
    Code(
        "MK105", "stop-not-trained", "error", "a reply is trained and the stop token behind it is not",
        "The model does not learn to end its turn and goes on until the length limit, while the loss looks healthy.",
        "Train the stop token with the reply; check that padding is not masked by the id of the stop token.", chosen="warning",
    ),
    Code(
        "MK106", "stop-trained-twice", "error", "a stop token is trained, and another one right behind it as well",
        "The model learns to write a second stop token after the first.",
        "Do not append an end of sequence to what the template has already ended.", chosen="warning",
    ),
    Code(
        "MK107", "split-character", "error", "a character of several tokens (an emoji, say) is trained in part, or the row ends within one",
        "The model learns half a character, which no text has.",
        "Let masks begin and end where characters do; cut rows between characters.",
    ),
    Code(
        "MK108", "reply-partly-trained", "warning", "a given mask counts a part of a reply and not the rest of it",
        "Often the mask ends too early or begins too late by some tokens.",
        "Compare the boundaries of the mask with the text in the finding; ignore the code if it is meant.",
    ),
    Code(
        "MK109", "labels-shifted", "error", "labels or weights are moved by one token against input_ids",
        "Trainers shift once themselves: shifted twice, the model learns to predict the token after the next.",
        "Let labels[t] belong to input_ids[t] and leave the shift to the loss.",
    ),
    Code(
        "MK110", "labels-differ", "error", "a trained label is another token than the input id at its place",
        "The model would be trained to predict a text that it does not read.",
        "Make labels from input_ids, -100 where nothing counts.",
    ),
    Code(
        "MK111", "separator-trained", "warning", "blanks that the template writes behind a stop token are trained",
        "The model has stopped before them: it learns something that it never does, at little cost.",
        "End the mask with the stop token.", chosen="note",
    ),
    Code(
        "MK201", "history-rewritten", "warning", "the template renders earlier turns differently from how they were served",
        "Earlier replies are learnt behind prompts that no server ever sends.",
        "Set history: as-served, or train the last turn only.",
    ),
    Code(
        "MK202", "reply-differs", "warning",
        "the template does not render a reply behind its prompt as that is served: a prefilled tag is missing, for example",
        "What precedes the reply in training is not what precedes it at inference.",
        "Set history: as-served, or give the chat_template_kwargs with which the model will be used.",
    ),
    Code(
        "MK203", "prompt-refused", "warning", "the template refuses the prompt of an assistant turn, so the turn is unknown",
        "The turn is not trained, since nobody knows what a server would have sent.",
        "Look at the order of roles in the row; `maskkit check template` shows what the template takes.",
    ),
    Code(
        "MK204", "no-reply", "warning", "nothing of an assistant message is known to be the model's, so no as-served example is made of it",
        "The message is not trained.",
        "See with `maskkit preview` what the template makes of the message.",
    ),
    Code(
        "MK205", "no-stop", "warning", "the template writes no stop token after an assistant turn",
        "The model does not learn to end its turn.",
        "Use the template of the model, or one that ends turns with a stop token.",
    ),
    Code(
        "MK206", "dropped-text", "warning", "the template does not print some of the row's text",
        "What is not printed is neither read nor learnt.",
        "Use a template that has a place for it, or take it out of the rows.",
    ),
    Code(
        "MK207", "reasoning-dropped", "warning", "the row has reasoning that the template does not print",
        "The model learns to answer without thinking where the data thinks.",
        "Set data.reasoning: inline, history: as-served, or use a template with a place for reasoning.",
    ),
    Code(
        "MK208", "reasoning-unbalanced", "warning", "a reply opens thinking and does not close it, or closes what it has not opened",
        "Reasoning and answer cannot be told apart, by strategies as by those who use the model.",
        "Complete the tags in the data; tell other tags with reasoning_tags.",
    ),
    Code(
        "MK209", "content-changed", "warning", "the template changes a reply's text: it is trimmed, or split at a literal tag inside it",
        "The model learns another text than the data has.",
        "Write the data as the template renders it; keep literal tags such as </think> out of texts.",
    ),
    Code(
        "MK210", "role-not-printed", "warning", "the template prints nothing of a message: its role is unknown to it",
        "A part of the conversation is missing from what the model reads.",
        "Use roles that the template knows; `maskkit check template` lists them.",
    ),
    Code(
        "MK211", "wrong-template", "error", "the ids were not made by this tokenizer's chat template",
        "The model would be trained on a format that it is not served.",
        "Give the tokenizer and template with which the ids were made, or make the ids anew.",
    ),
    Code(
        "MK212", "structure-not-recovered", "warning",
        "who says what could not be told from the ids: only what needs no structure was checked",
        "Whether prompts or headers are trained is not known.",
        "Give the messages beside the ids, or the tokenizer whose template made them.",
    ),
    Code(
        "MK213", "after-stop", "warning", "the template writes a part of a reply behind the token that ends it",
        "The model has stopped by then and never writes that part there: it is read, and not trained.",
        "Set history: as-served, where each reply is rendered before anything follows it; or move the part to a message of its own.",
    ),
    Code(
        "MK214", "reply-not-printed", "error", "the template prints nothing of a reply, and the stop token behind it is trained",
        "The model learns to say nothing where the data has a tool call, say.",
        "Use a template that prints it, leave such rows out, or give such stop tokens weight 0 by a rule of strategy weighted, as "
        "examples/smollm2.yaml does.",
    ),
    Code(
        "MK301", "control-tokens", "warning",
        "the row's text holds control tokens: encoded as ordinary text, or as they are under control_tokens: allow",
        "Where they control, a text can end its turn or begin another's.",
        "Leave control_tokens at escape; remove them from the data if they are left-overs.",
    ),
    Code(
        "MK302", "unknown-text", "warning", "characters whose origin could not be determined; they weigh 0",
        "They are not trained, although some may be the model's.",
        "Look at them with `maskkit preview`, and please report the template.",
    ),
    Code(
        "MK303", "straddle", "note", "a token touches prompt and generated text; it weighs 0",
        "At inference the same text is cut into other tokens there.",
        "Set history: as-served, which encodes prompt and reply apart as a server does.",
    ),
    Code(
        "MK304", "doubled-bos", "warning", "the row begins with two beginning-of-sequence tokens",
        "Models are trained with one; two can cost quality without a sign of it.",
        "Encode rendered text with add_special_tokens=False.",
    ),
    Code(
        "MK305", "unknown-token", "warning", "text became the tokenizer's unknown token",
        "The text is lost; trained, the model learns to write the unknown token.",
        "Remove the characters, or use a tokenizer that has them.",
    ),
    Code(
        "MK306", "text-differs", "warning", "the trained tokens of a reply do not decode to its text",
        "The model learns another text than the data has, often by the tokenizer's normalisation.",
        "Normalise the data the same way (NFC, mostly) before encoding.",
    ),
    Code(
        "MK307", "media-placeholder", "warning",
        "images, audio or video stand in the text as placeholders, which weigh 0; a model of text does not see them",
        "Replies about them are learnt without them.",
        "Leave such rows out, or train a model that takes them.",
    ),
    Code(
        "MK401", "truncated", "warning", "the row was longer than max_length and was cut",
        "What is cut is not learnt.",
        "Raise max_length, or choose truncation: turns or drop.",
    ),
    Code(
        "MK402", "dropped", "warning", "the row was longer than max_length and makes no example",
        "The row is not learnt.",
        "Raise max_length, or choose another truncation.",
    ),
    Code(
        "MK403", "stop-truncated", "warning", "a turn lost its stop token to truncation",
        "Cut replies teach to break off; where many are cut, the model does not learn to end its turns.",
        "Raise max_length, or leave such rows out with truncation: drop.",
    ),
    Code(
        "MK404", "weight-truncated", "warning", "max_length left nothing of the row that counts",
        "The row costs time and teaches nothing.",
        "Raise max_length, or choose truncation: turns, left or drop.", everywhere="error",
    ),
    Code(
        "MK405", "over-length", "warning", "the row is longer than the given max_length: its trainer cuts or drops it",
        "What is cut is not learnt.",
        "Raise the trainer's maximal length, or shorten the row.",
    ),
    Code(
        "MK406", "duplicate-rows", "note", "the same row stands in the data more than once",
        "It counts as often as it stands there.",
        "Remove the copies, or give the row's source a weight if that is meant.",
    ),
    Code(
        "MK407", "held-out-overlap", "warning", "a training row is also held out",
        "Its held-out loss and answers say nothing about new rows.",
        "Remove it from one side; a held-out share (data.eval: 0.05) keeps equal rows together.",
    ),
    Code(
        "MK408", "empty-turn", "warning", "a message says nothing",
        "An empty reply teaches to say nothing; an empty prompt is most often a fault of the data.",
        "Leave such rows out, or write what is missing.",
    ),
    Code(
        "MK409", "row-refused", "error", "the row cannot be read, encoded or weighed",
        "A run stops at it.",
        "Mend the row as the message says.",
    ),
    Code(
        "MK501", "data-weights-ignored", "error", "the row carries weights that the chosen strategy does not read",
        "Somebody said what to train, and it is not done.",
        "Use strategy from-data, alone or in a product; or remove the weights.",
    ),
    Code(
        "MK502", "unknown-mark", "warning", "a key of the row looks like a weight or a training mark, and is none that is known",
        "It is not read, so the row is trained as if it were not there.",
        "Use a mark that is known (weight, train, loss, loss_scale, ...), and put it into the message, part or tool call that it weighs.",
    ),
    Code(
        "MK503", "non-finite-weight", "error", "a weight is not a number or infinite",
        "The loss of the whole batch becomes NaN.",
        "Find where it is made; a mean over nothing is the usual place.",
    ),
    Code(
        "MK504", "negative-weight", "warning", "a weight is negative",
        "The token is made less likely, without bound, and sums of weights can cancel.",
        "Use it knowingly: a signed strategy with loss.normalization absolute or tokens.", chosen="note",
    ),
    Code(
        "MK505", "huge-weight", "warning", "a weight is more than a thousand times the usual one of its row",
        "One token decides the update.",
        "Clip the weights, or look where such a number comes from.",
    ),
    Code(
        "MK506", "negligible-kind", "note", "a kind of token is trained, and has less than 1 % of all weight",
        "Hardly anything of it is learnt.",
        "Raise its weight, or leave it out altogether.",
    ),
    Code(
        "MK507", "stored-weights-replaced", "warning", "the strategy gives a prepared row other weights than are stored in it",
        "The row is not trained as it was prepared.",
        "Use strategy from-data, which reads the stored weights; ignore the code if the row is to be weighed anew.",
    ),
)  # fmt: skip

REGISTRY: dict[str, Code] = {code.name: code for code in _ALL}
"""Every sort of finding, by name, in the order of the numbers."""

CODES: dict[str, str] = {code.name: code.meaning for code in _ALL}
"""Every name with its meaning."""


def code_of(name: str) -> Code:
    """The code of a name or a number: ``prompt-trained``, ``MK102``, ``mk102``. Raises UnknownNameError."""
    numbered = {code.number: code for code in _ALL}
    found = REGISTRY.get(name) or numbered.get(name.upper())
    if found is None:
        near = numbered if name.upper().startswith("MK") else REGISTRY
        raise UnknownNameError("lint code", name, near, "See  maskkit lint --explain all")
    return found


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing noticed about one row: a code of `CODES`, a sentence with the particulars, how many tokens or characters it concerns."""

    code: str
    message: str
    count: int = 1

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise ValueError(f"finding code {self.code!r} is not in maskkit.findings.CODES")


@contextmanager
def unlogged() -> Iterator[None]:
    """Findings are shown with what they are about, so they are not logged as well."""
    logger = logging.getLogger("maskkit.masker")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)

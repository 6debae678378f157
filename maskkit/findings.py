"""What maskkit noticed about a row: never silent, never only in a log."""

from __future__ import annotations

from dataclasses import dataclass

CODES: dict[str, str] = {
    "trains-nothing": "no token of the row has a weight other than zero",
    "truncated": "the row was longer than max_length and was cut",
    "dropped": "the row was longer than max_length and makes no example",
    "stop-truncated": "a turn lost its stop token to truncation",
    "no-stop": "the template writes no stop token after an assistant turn",
    "history-rewritten": "the template renders earlier turns differently from how they were served",
    "prompt-refused": "the template refuses the prompt of an assistant turn, so the turn is unknown",
    "no-reply": "nothing of an assistant message is known to be the model's, so no as-served example is made of it",
    "reply-differs": "the template does not render a reply behind its prompt as that is served: a prefilled tag is missing, for example",
    "dropped-text": "the template does not print some of the row's text",
    "media-placeholder": "images, audio or video stand in the text as placeholders, which weigh 0; a model of text does not see them",
    "unknown-text": "characters whose origin could not be determined; they weigh 0",
    "straddle": "a token touches prompt and generated text; it weighs 0",
    "control-tokens": "the row's text holds control tokens: encoded as ordinary text, or as they are under control_tokens: allow",
    "data-weights-ignored": "the row carries weights that the chosen strategy does not read",
    "unknown-mark": "a key of the row looks like a weight or a training mark, and is none that is known",
    "no-place-for-reasoning": "the template has no place for reasoning; it was rendered inline",
}
"""Every code with its meaning."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing noticed about one row: a code of `CODES`, a sentence with the particulars, how many tokens or characters it concerns."""

    code: str
    message: str
    count: int = 1

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise ValueError(f"finding code {self.code!r} is not in maskkit.findings.CODES")

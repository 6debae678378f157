"""Which messages of a record make one example: all of them, those up to a reply, or those that are left after truncation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from maskkit.chat.continuing import said_to_the_end
from maskkit.chat.kinds import ASSISTANT_ROLES, SYSTEM_ROLES
from maskkit.records import Record
from maskkit.tokens import message_turns


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Messages of a record, by their numbers, in order."""

    record: Record
    messages: tuple[int, ...]
    served: bool = False
    """The last message is a reply, to be trained alone behind the prompt that it was served."""

    @property
    def rows(self) -> Record:
        """A record of these messages alone; its key and row are those of the whole."""
        return self._of(self.messages)

    @property
    def rows_and_next(self) -> Record:
        """The same with the message that follows in the record, if one does."""
        return self._of((*self.messages, *range(self.messages[-1] + 1, min(self.messages[-1] + 2, len(self.record.messages)))))

    def _of(self, numbers: tuple[int, ...]) -> Record:
        if len(numbers) == len(self.record.messages):
            return self.record
        record = self.record
        if numbers[-1:] != (len(record.messages) - 1,):
            record = replace(record, template_kwargs=said_to_the_end(record.template_kwargs))
        return replace(record, messages=tuple(record.messages[i] for i in numbers))

    def turns(self) -> list[int]:
        """The turns in it, in order: -1 stands for messages before the first user message, system messages aside."""
        of_message = message_turns(self.record)
        return sorted({of_message[i] for i in self.messages if not self._is_head(i, of_message)})

    def since(self, turn: int) -> Excerpt:
        """Without the turns before ``turn``; system messages at the head of the record stay."""
        of_message = message_turns(self.record)
        return replace(self, messages=tuple(i for i in self.messages if self._is_head(i, of_message) or of_message[i] >= turn))

    def _is_head(self, index: int, of_message: list[int]) -> bool:
        return of_message[index] == -1 and self.record.messages[index]["role"] in SYSTEM_ROLES


def whole(record: Record) -> Excerpt:
    """The whole record."""
    return Excerpt(record, tuple(range(len(record.messages))))


def replies(record: Record) -> Iterator[Excerpt]:
    """For each assistant message, everything up to it; a record without messages as a whole."""
    if record.form != "messages":
        yield whole(record)
    for index, message in enumerate(record.messages):
        if message["role"] in ASSISTANT_ROLES:
            yield Excerpt(record, tuple(range(index + 1)), served=True)

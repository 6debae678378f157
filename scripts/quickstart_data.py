"""Make the conversations of the bundled data set: puzzles with step-by-step reasoning, in English and Japanese.

Only `random.Random.random` draws, whose sequence Python guarantees for a seed, so every Python version makes the same rows. What the steps
of a puzzle end in is worked out here, one by one; `maskkit.embedded.puzzles` works the answer out from the question. `rows` raises if they
differ.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from maskkit.embedded import puzzles
from maskkit.embedded.puzzles import Language, Style

SEED = 20261124
ROWS = 4000

T = TypeVar("T")
Message = dict[str, Any]
Row = dict[str, Any]

CALCULATOR = {
    "type": "function",
    "function": {
        "name": "calculator",
        "description": "Work out an expression.",
        "parameters": {"type": "object", "properties": {"expression": {"type": "string"}}, "required": ["expression"]},
    },
}
CLOCK = {
    "type": "function",
    "function": {"name": "clock", "description": "Tell the time.", "parameters": {"type": "object", "properties": {}}},
}


class Draw:
    """Random choices built on `random.Random.random` alone."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random

    def number(self, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``, both included."""
        return low + int(self._random() * (high - low + 1))

    def one(self, choices: Sequence[T]) -> T:
        """One of the choices, all alike."""
        return choices[self.number(0, len(choices) - 1)]

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self._random() < probability


def equation(value: int, op: str, operand: int) -> tuple[str, int]:
    """One written step of arithmetic and its result: ``("7+5=12", 12)``."""
    result = {"+": value + operand, "-": value - operand, "*": value * operand}[op]
    return f"{value}{op}{operand}={result}", result


def worked(*steps: str, language: Language) -> list[str]:
    """Steps of arithmetic with the words that say their order; a single step needs none."""
    if len(steps) == 1:
        return list(steps)
    first, then = ("First ", "Then ") if language == "en" else ("まず", "次に")
    return [first + steps[0], *(then + step for step in steps[1:])]


def final(steps: Sequence[str], answer: str, style: Style) -> Message:
    """The assistant message that reasons, then answers."""
    reasoning = ". ".join(steps) + "." if style.language == "en" else "。".join(steps) + "。"
    return {"role": "assistant", "reasoning_content": reasoning, "content": answer}


def user(family: str, language: Language, draw: Draw, **fields: Any) -> Message:
    """The user message that asks a family's puzzle in one of its phrasings."""
    phrasings = next(f.phrasings for f in puzzles.FAMILIES if f.name == family)
    return {"role": "user", "content": draw.one(phrasings[language]).format(**fields)}


def chain(draw: Draw, asked: Language, style: Style) -> list[Message]:
    """A sum of three numbers, sometimes with a second question about its result."""
    a, b, c, op, op2 = draw.number(2, 9), draw.number(2, 9), draw.number(2, 9), draw.one("+-"), draw.one("+-")
    if op == "-":
        a += b
    if op2 == "-" and c > puzzles.apply(a, op, b):
        op2 = "+"
    first, value = equation(a, op, b)
    second, value = equation(value, op2, c)
    messages = [
        user("chain", asked, draw, a=a, op=op, b=b, op2=op2, c=c),
        final(worked(first, second, language=style.language), str(value), style),
    ]
    if draw.chance(0.3):
        op, phrasing = draw.one(puzzles.FOLLOW_UPS[asked])
        n = draw.number(2, 9)
        if n > value:
            op, phrasing = puzzles.FOLLOW_UPS[asked][0]
        step, value = equation(value, op, n)
        messages += [{"role": "user", "content": phrasing.format(n=n)}, final([step], str(value), style)]
    return messages


def story(draw: Draw, asked: Language, style: Style) -> list[Message]:
    """Someone gets things and gives some away."""
    thing, a, b, c = draw.number(0, len(puzzles.OBJECTS["en"]) - 1), draw.number(2, 9), draw.number(2, 9), draw.number(2, 4)
    first, value = equation(a, "+", b)
    second, value = equation(value, "-", c)
    names = {"name": draw.one(puzzles.NAMES[asked]), "object": puzzles.OBJECTS[asked][thing], "counter": puzzles.COUNTERS[thing]}
    steps = worked(first, second, language=style.language)
    return [user("story", asked, draw, a=a, b=b, c=c, **names), final(steps, puzzles.counted(value, thing, style), style)]


def weekday(draw: Draw, asked: Language, style: Style) -> list[Message]:
    """A day of the week some days ahead, counted day by day."""
    today, n = draw.number(0, 6), draw.number(2, 6)
    names = puzzles.WEEKDAYS[style.language]
    colon = " " if style.language == "en" else ":"
    steps = [f"{k}{colon}{names[(today + k) % 7]}" for k in range(1, n + 1)]
    question = user("weekday", asked, draw, weekday=puzzles.WEEKDAYS[asked][today], n=n)
    return [question, final(steps, puzzles.weekday((today + n) % 7, style), style)]


def date(draw: Draw, asked: Language, style: Style) -> list[Message]:
    """The day of the month a week ahead, often in the next month."""
    length, day = draw.number(28, 31), draw.number(2, 28)
    step, value = equation(day, "+", 7)
    steps = [step]
    if value > length:
        step, value = equation(value, "-", length)
        steps.append(step)
    question = user("date", asked, draw, length=length, day=day)
    return [question, final(worked(*steps, language=style.language), puzzles.day_of_month(value, style), style)]


def units(draw: Draw, asked: Language, style: Style) -> list[Message]:
    """Hours and minutes in minutes, and the like."""
    size, names = puzzles.UNITS[index := draw.number(0, len(puzzles.UNITS) - 1)]
    a = draw.number(2, 9 if size == 100 else 5)
    b = draw.number(2, size - 1) if size < 10 else 10 * draw.number(1, size // 10 - 1)
    first, value = equation(a, "*", size)
    second, value = equation(value, "+", b)
    unit, small = names[asked]
    steps = worked(first, second, language=style.language)
    return [user("units", asked, draw, a=a, b=b, unit=unit, small=small), final(steps, puzzles.in_unit(value, index, style), style)]


def later(hour: int, minute: int, n: int, language: Language) -> tuple[list[str], int]:
    """The steps to the time ``n`` minutes later, and that time in minutes since midnight."""
    step, value = equation(minute, "+", n)
    steps = [step]
    if value >= 60:
        carry, value = equation(value, "-", 60)
        plus, hour = equation(hour, "+", 1)
        steps += [carry, plus]
    return worked(*steps, language=language), hour * 60 + value


def clock(draw: Draw, asked: Language, style: Style) -> list[Message]:
    """A time of day some minutes later."""
    hour, minute, n = draw.number(1, 8), 10 * draw.number(1, 5), 10 * draw.number(1, 5)
    steps, time = later(hour, minute, n, style.language)
    return [user("clock", asked, draw, hour=hour, minute=minute, n=n), final(steps, puzzles.clock(time, style), style)]


def called(tool: str, arguments: Mapping[str, str], result: str) -> list[Message]:
    """A tool call and what the tool returned."""
    call = {"type": "function", "function": {"name": tool, "arguments": dict(arguments)}}
    return [{"role": "assistant", "content": "", "tool_calls": [call]}, {"role": "tool", "name": tool, "content": result}]


def boxes(draw: Draw, asked: Language, style: Style) -> list[Message]:
    """A product too large for the head: the calculator is called, its result is the answer."""
    thing, a, b = draw.number(0, len(puzzles.OBJECTS["en"]) - 1), draw.number(2, 9), draw.number(11, 99)
    question = user("boxes", asked, draw, a=a, b=b, object=puzzles.OBJECTS[asked][thing], counter=puzzles.COUNTERS[thing])
    answer = {"role": "assistant", "content": puzzles.in_all(a * b, style)}
    return [question, *called("calculator", {"expression": f"{a}*{b}" if asked == "en" else f"{b}*{a}"}, str(a * b)), answer]


def now(draw: Draw, asked: Language, style: Style) -> list[Message]:
    """A time some minutes from now: the clock is called, then the minutes are added."""
    hour, minute, n = draw.number(1, 8), 10 * draw.number(1, 5), 10 * draw.number(1, 5)
    steps, time = later(hour, minute, n, style.language)
    question = user("now", asked, draw, n=n)
    return [question, *called("clock", {}, f"{hour}:{minute:02d}"), final(steps, puzzles.clock(time, style), style)]


Maker = Callable[[Draw, Language, Style], list[Message]]
MIXTURE: tuple[tuple[int, Maker], ...] = (
    (20, chain),
    (18, story),
    (14, weekday),
    (10, date),
    (10, units),
    (10, clock),
    (9, boxes),
    (9, now),
)
"""How many rows of a hundred each sort of puzzle makes."""
NUMBER_ONLY: tuple[Maker, ...] = (story, date, units, boxes)
"""Puzzles whose answer has a unit to leave out."""
TOOL: Mapping[Maker, dict[str, Any]] = {boxes: CALCULATOR, now: CLOCK}


def system_text(draw: Draw, maker: Maker) -> str | None:
    """System text or none; where it asks for something, it is something that changes the answer."""
    if draw.chance(0.6):
        return None
    texts = [text for text, (_, number_only) in puzzles.DIRECTIVES.items() if maker in NUMBER_ONLY or not number_only]
    return draw.one(texts)


def candidate(draw: Draw) -> Row:
    """One row, drawn anew."""
    wheel = [maker for share, maker in MIXTURE for _ in range(share)]
    maker, asked = draw.one(wheel), draw.one(("en", "ja"))
    system = system_text(draw, maker)
    language, number_only = puzzles.DIRECTIVES[system] if system else (None, False)
    messages = maker(draw, asked, Style(language or asked, number_only))
    if system:
        messages.insert(0, {"role": "system", "content": system})
    return {"messages": messages, "tools": [TOOL[maker]]} if maker in TOOL else {"messages": messages}


def rows(count: int = ROWS, seed: int = SEED) -> Iterator[Row]:
    """Yield ``count`` different rows, each checked against the program that knows the answers."""
    draw, seen = Draw(seed), set[str]()
    while len(seen) < count:
        row = candidate(draw)
        line = json.dumps(row, ensure_ascii=False)
        if line in seen:
            continue
        if not puzzles.check_answer(row, row["messages"][-1]["content"]):
            raise ValueError(f"the steps and the checker disagree: {puzzles.expected_answer(row)!r} expected by {line}")
        seen.add(line)
        yield row

"""The puzzles of the bundled conversations, and a checker that knows the right answer from the question alone.

A puzzle is asked in English or Japanese by filling a phrasing such as ``"What is {a}{op}{b}{op2}{c}?"``. The same phrasing, read backwards,
is what the checker parses, so an expected answer never comes from the answer in the data. System text may change what is right: another
language, or the number alone. `scripts/quickstart_data.py` makes the bundled rows; this module only reads and judges them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from maskkit.errors import DataError

Language = Literal["en", "ja"]
Row = Mapping[str, Any]
Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Style:
    """What system text asks of an answer: its language, and whether it is the number alone."""

    language: Language
    number_only: bool = False


WEEKDAYS: Mapping[Language, tuple[str, ...]] = {
    "en": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "ja": ("月曜日", "火曜日", "水曜日", "木曜日", "金曜日", "土曜日", "日曜日"),
}
OBJECTS: Mapping[Language, tuple[str, ...]] = {
    "en": ("apples", "books", "pens", "cards"),
    "ja": ("りんご", "本", "ペン", "カード"),
}
COUNTERS = ("個", "冊", "本", "枚")
"""The Japanese counter of each object."""

NAMES: Mapping[Language, tuple[str, ...]] = {"en": ("Aki", "Ben", "Mia", "Leo"), "ja": ("アキ", "ベン", "ミア", "レオ")}

UNITS: tuple[tuple[int, Mapping[Language, tuple[str, str]]], ...] = (
    (7, {"en": ("weeks", "days"), "ja": ("週間", "日")}),
    (60, {"en": ("hours", "minutes"), "ja": ("時間", "分")}),
    (100, {"en": ("meters", "centimeters"), "ja": ("メートル", "センチメートル")}),
)
"""How many of the small unit make one of the large, and the names of both."""

DIRECTIVES: Mapping[str, tuple[Language | None, bool]] = {
    "You are a helpful assistant.": (None, False),
    "あなたは親切な助手です。": (None, False),
    "Answer in Japanese.": ("ja", False),
    "日本語で答えてください。": ("ja", False),
    "Answer in English.": ("en", False),
    "英語で答えてください。": ("en", False),
    "Reply with the number only.": (None, True),
    "数字だけで答えてください。": (None, True),
}
"""Every system text of the data: the language it asks for (None: that of the question) and whether it asks for the number alone."""


def counted(number: int, index: int, style: Style) -> str:
    """``"9 apples"``, ``"9個"`` or, where only the number is asked for, ``"9"``."""
    if style.number_only:
        return str(number)
    return f"{number} {OBJECTS['en'][index]}" if style.language == "en" else f"{number}{COUNTERS[index]}"


def in_unit(number: int, index: int, style: Style) -> str:
    """``"200 minutes"``, ``"200分"`` or ``"200"``: a number of the small unit of ``UNITS[index]``."""
    if style.number_only:
        return str(number)
    unit = UNITS[index][1][style.language][1]
    return f"{number} {unit}" if style.language == "en" else f"{number}{unit}"


def weekday(index: int, style: Style) -> str:
    """``"It is Monday."`` or ``"月曜日です。"``; weekdays count from Monday, 0."""
    return f"It is {WEEKDAYS['en'][index]}." if style.language == "en" else f"{WEEKDAYS['ja'][index]}です。"


def day_of_month(day: int, style: Style) -> str:
    """``"Day 12"``, ``"12日"`` or ``"12"``."""
    if style.number_only:
        return str(day)
    return f"Day {day}" if style.language == "en" else f"{day}日"


def in_all(number: int, style: Style) -> str:
    """``"312 in all"``, ``"全部で312"`` or ``"312"``."""
    if style.number_only:
        return str(number)
    return f"{number} in all" if style.language == "en" else f"全部で{number}"


def clock(minutes: int, style: Style) -> str:
    """``"9:05"`` or ``"9時5分"``: minutes since midnight as a time of day."""
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02d}" if style.language == "en" else f"{hour}時{minute}分"


def apply(value: int, op: str, operand: int) -> int:
    """One addition or subtraction."""
    return value + operand if op == "+" else value - operand


def _index(word: str, words: Mapping[Language, tuple[str, ...]]) -> int:
    """Position of a word in either language's list."""
    return next(listed.index(word) for listed in words.values() if word in listed)


def _unit_index(word: str) -> int:
    return next(i for i, (_, names) in enumerate(UNITS) if any(word == pair[0] for pair in names.values()))


def _chain(f: Fields, style: Style, row: Row) -> str:
    return str(apply(apply(int(f["a"]), f["op"], int(f["b"])), f["op2"], int(f["c"])))


def _story(f: Fields, style: Style, row: Row) -> str:
    return counted(int(f["a"]) + int(f["b"]) - int(f["c"]), _index(f["object"], OBJECTS), style)


def _weekday(f: Fields, style: Style, row: Row) -> str:
    return weekday((_index(f["weekday"], WEEKDAYS) + int(f["n"])) % 7, style)


def _date(f: Fields, style: Style, row: Row) -> str:
    day, length = int(f["day"]) + 7, int(f["length"])
    return day_of_month(day if day <= length else day - length, style)


def _units(f: Fields, style: Style, row: Row) -> str:
    index = _unit_index(f["unit"])
    return in_unit(int(f["a"]) * UNITS[index][0] + int(f["b"]), index, style)


def _clock(f: Fields, style: Style, row: Row) -> str:
    return clock(int(f["hour"]) * 60 + int(f["minute"]) + int(f["n"]), style)


def _boxes(f: Fields, style: Style, row: Row) -> str:
    return in_all(int(f["a"]) * int(f["b"]), style)


def _now(f: Fields, style: Style, row: Row) -> str:
    """The clock tool's reading is not in the question: it is taken from the tool result."""
    readings = [m["content"] for m in row["messages"] if m["role"] == "tool"]
    if not readings:
        raise DataError("question about the present time without a tool result to read it from")
    hour, minute = (int(part) for part in readings[-1].split(":"))
    return clock(hour * 60 + minute + int(f["n"]), style)


@dataclass(frozen=True, slots=True)
class Family:
    """Puzzles of one sort: how they are asked in each language, and their answer from what was asked."""

    name: str
    phrasings: Mapping[Language, tuple[str, ...]]
    answer: Callable[[Fields, Style, Row], str]


FAMILIES: tuple[Family, ...] = (
    Family("chain", {"en": ("What is {a}{op}{b}{op2}{c}?",), "ja": ("{a}{op}{b}{op2}{c}はいくつですか。",)}, _chain),
    Family(
        "story",
        {
            "en": ("{name} has {a} {object}, gets {b} more and gives {c} away. How many are left?",),
            "ja": ("{name}は{object}を{a}{counter}持っていて、{b}{counter}もらい、{c}{counter}あげました。残りはいくつですか。",),
        },
        _story,
    ),
    Family(
        "weekday",
        {
            "en": ("Today is {weekday}. Which day is it in {n} days?",),
            "ja": ("今日は{weekday}です。{n}日後は何曜日ですか。",),
        },
        _weekday,
    ),
    Family(
        "date",
        {
            "en": ("In a month of {length} days, which day is one week after day {day}?",),
            "ja": ("{length}日ある月で、{day}日の一週間後は何日ですか。",),
        },
        _date,
    ),
    Family(
        "units",
        {"en": ("How many {small} are {a} {unit} and {b} {small}?",), "ja": ("{a}{unit}と{b}{small}は何{small}ですか。",)},
        _units,
    ),
    Family(
        "clock",
        {
            "en": ("It is {hour}:{minute}. What time is it {n} minutes later?",),
            "ja": ("今は{hour}時{minute}分です。{n}分後は何時何分ですか。",),
        },
        _clock,
    ),
    Family(
        "boxes",
        {
            "en": ("How many {object} are in {a} boxes of {b}?",),
            "ja": ("{object}が{b}{counter}入った箱が{a}箱あります。全部でいくつですか。",),
        },
        _boxes,
    ),
    Family("now", {"en": ("What time will it be in {n} minutes?",), "ja": ("{n}分後は何時何分になりますか。",)}, _now),
)

FOLLOW_UPS: Mapping[Language, tuple[tuple[str, str], ...]] = {
    "en": (("+", "Add {n} to that."), ("-", "Take {n} from that.")),
    "ja": (("+", "それに{n}を足してください。"), ("-", "そこから{n}を引いてください。")),
}
"""Second questions about the number of the first, with their operation."""

_FIELD_PATTERNS: Mapping[str, str] = {
    "op": r"[+-]",
    "op2": r"[+-]",
    "name": "|".join(NAMES["en"] + NAMES["ja"]),
    "object": "|".join(OBJECTS["en"] + OBJECTS["ja"]),
    "counter": "|".join(sorted(set(COUNTERS))),
    "weekday": "|".join(WEEKDAYS["en"] + WEEKDAYS["ja"]),
    "unit": "|".join(names[language][0] for _, names in UNITS for language in names),
    "small": "|".join(names[language][1] for _, names in UNITS for language in names),
}


@cache
def _regex(phrasing: str) -> re.Pattern[str]:
    """A phrasing read backwards: its fields become groups, a field named twice must say the same both times."""
    parts: list[str] = []
    seen: set[str] = set()
    for literal, name in re.findall(r"([^{]*)(?:\{(\w+)\})?", phrasing):
        parts.append(re.escape(literal))
        if name:
            parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>{_FIELD_PATTERNS.get(name, '[0-9]+')})")
            seen.add(name)
    return re.compile("".join(parts))


def _parse(question: str) -> tuple[Family, Language, Fields]:
    for family in FAMILIES:
        for language, phrasings in family.phrasings.items():
            for phrasing in phrasings:
                if match := _regex(phrasing).fullmatch(question):
                    return family, language, match.groupdict()
    raise DataError(f"question {question!r} is none of the bundled puzzles, so no program knows its answer: check it yourself")


def _follow_up(question: str) -> tuple[str, int] | None:
    for pairs in FOLLOW_UPS.values():
        for op, phrasing in pairs:
            if match := _regex(phrasing).fullmatch(question):
                return op, int(match["n"])
    return None


def _style(row: Row, language: Language) -> Style:
    for message in row["messages"]:
        if message["role"] == "system":
            if message["content"] not in DIRECTIVES:
                raise DataError(f"system text {message['content']!r} is none of the bundled puzzles', so no program knows the answer")
            asked, number_only = DIRECTIVES[message["content"]]
            return Style(asked or language, number_only)
    return Style(language)


def expected_answer(row: Row) -> str:
    """The one right answer to the last question of a bundled row, worked out from its questions, system text and tool results.

    Answers of the assistant in the row are not looked at. Raises DataError for a row that is none of the bundled puzzles.
    """
    questions = [message["content"] for message in row["messages"] if message["role"] == "user"]
    if not questions:
        raise DataError("row without a user message: there is no question to answer")
    family, language, fields = _parse(questions[0])
    answer = family.answer(fields, _style(row, language), row)
    for question in questions[1:]:
        step = _follow_up(question)
        if step is None or not answer.isdecimal():
            raise DataError(f"question {question!r} does not follow from {questions[0]!r}: check it yourself")
        answer = str(apply(int(answer), *step))
    return answer


def check_answer(row: Row, text: str) -> bool:
    """Whether ``text``, a reply to the last question of a bundled row, is exactly right.

    Text up to the last ``</think>`` and from the first ``<|im_end|>`` on is not part of the answer.
    Raises DataError for a row that is none of the bundled puzzles.
    """
    answer = text.split("<|im_end|>")[0].rpartition("</think>")[2]
    return answer.strip() == expected_answer(row)

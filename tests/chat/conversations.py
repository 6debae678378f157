"""Conversations for rendering tests. Texts hold marked words, ``kind`` + digits such as ``user12``, that say what they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Says the weather, schema1.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "A city, schema2"},
                    "days": {"type": "integer", "description": "schema3"},
                },
                "required": ["city"],
            },
        },
    }
]


@dataclass(frozen=True)
class Row:
    """What a renderer reads of a record."""

    messages: tuple[dict[str, Any], ...]
    tools: list[dict[str, Any]] | None = None
    documents: list[dict[str, Any]] | None = None
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    source: str = "row 1"


def system(text: Any) -> dict[str, Any]:
    return {"role": "system", "content": text}


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: Any = None, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", **({} if text is None else {"content": text}), **fields}


def tool(text: Any, name: str = "weather") -> dict[str, Any]:
    return {"role": "tool", "name": name, "content": text}


def call(arguments: Any, name: str = "weather") -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


CONVERSATIONS: dict[str, Row] = {
    "plain": Row((user("Hello user1?"), assistant("Hi answer1."))),
    "system": Row((system("Be kind, system1."), user("Hello user1?"), assistant("Hi answer1."))),
    "two turns": Row((system("Short system1"), user("A user1"), assistant("B answer1"), user("C user2"), assistant("D answer2\n"))),
    "unicode": Row((user("ねこ user1 👩‍👩‍👧 é <b>"), assistant("「いぬ」answer1 🐕‍🦺 \"quoted\" 'single'\n\n  indented  "))),
    "reasoning": Row((user("Think user1"), assistant("So answer1", reasoning_content="Because reasoning1\nthen reasoning2"))),
    "reasoning twice": Row(
        (
            user("Think user1"),
            assistant("So answer1", reasoning_content="Because reasoning1"),
            user("More user2"),
            assistant("Thus answer2", reasoning_content="Hence reasoning2"),
        )
    ),
    "thinking inline": Row((user("Think user1"), assistant("<think>\nBecause reasoning1\n</think>\n\nSo answer1"))),
    "tools": Row(
        (
            user("Weather user1?"),
            assistant("", tool_calls=[call({"city": 'Paris "call1"', "days": 3})]),
            tool("22 degrees result1"),
            assistant("It is warm answer1"),
        ),
        tools=TOOLS,
    ),
    "tools and reasoning": Row(
        (
            system("Use tools system1"),
            user("Weather user1?"),
            assistant("", reasoning_content="I must look reasoning1", tool_calls=[call({"city": "Oslo call1"})]),
            tool("snow result1"),
            assistant("It snows answer1", reasoning_content="Got it reasoning2"),
            user("Thanks user2"),
            assistant("Welcome answer2"),
        ),
        tools=TOOLS,
    ),
    "two calls": Row(
        (
            user("Both user1"),
            assistant("Looking answer1", tool_calls=[call({"city": "Rome call1"}), call({"city": "Bonn call2", "days": 2})]),
            tool("hot result1"),
            tool("cold result2"),
            assistant("Hot and cold answer2"),
        ),
        tools=TOOLS,
    ),
    "arguments as text": Row(
        (
            user("Weather user1?"),
            assistant("", tool_calls=[call('{"city": "Paris call1"}')]),
            tool("mild result1"),
            assistant("Mild answer1"),
        ),
        tools=TOOLS,
    ),
    "empty answer": Row((user("Say nothing user1"), assistant(""), user("Well user2"), assistant("Yes answer1"))),
    "parts": Row(
        (
            user([{"type": "text", "text": "One user1 "}, {"type": "text", "text": "two user2"}]),
            assistant([{"type": "text", "text": "Three answer1"}]),
        )
    ),
    "none and no thinking": Row(
        (user("Hello user1"), assistant("Hi answer1", tool_calls=None)), template_kwargs={"enable_thinking": False}
    ),
}

MARKED = re.compile(r"(system|schema|user|reasoning|answer|call|result)\d")
KIND_OF_WORD = {
    "system": "system",
    "schema": "system",
    "user": "user",
    "reasoning": "reasoning",
    "answer": "answer",
    "call": "tool_call",
    "result": "tool_result",
}

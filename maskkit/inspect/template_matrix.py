"""The conversations that a chat template is tried on. Each word with a number stands in one place only, so that it can be found again."""

from __future__ import annotations

from typing import Any

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Tell the weather, schema1.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]
DOCUMENTS = [{"title": "Rome", "text": "A city, document1."}]


def _user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def _reply(content: Any, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **fields}


def _call(arguments: Any, number: int = 1) -> dict[str, Any]:
    return {"type": "function", "id": f"call0000{number}", "function": {"name": "weather", "arguments": arguments}}


def _result(content: str, number: int = 1) -> dict[str, Any]:
    return {"role": "tool", "name": "weather", "tool_call_id": f"call0000{number}", "content": content}


def _asked(*replies: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"messages": [_user("Hello, user1?"), *replies], **fields}


MATRIX: dict[str, dict[str, Any]] = {
    "plain": _asked(_reply("Fine, answer1.")),
    "two turns": _asked(_reply("Fine, answer1."), _user("And user2?"), _reply("Too, answer2.")),
    "system": {"messages": [{"role": "system", "content": "Be kind, system1."}, *_asked(_reply("Fine, answer1."))["messages"]]},
    "developer": {"messages": [{"role": "developer", "content": "Be kind, developer1."}, *_asked(_reply("Fine, answer1."))["messages"]]},
    "reasoning": _asked(_reply("So answer1.", reasoning_content="Because reasoning1.")),
    "reasoning in two turns": _asked(
        _reply("So answer1.", reasoning_content="Because reasoning1."),
        _user("And user2?"),
        _reply("So answer2.", reasoning_content="Because reasoning2."),
    ),
    "thinking inside content": _asked(_reply("<think>\nBecause reasoning1.\n</think>\n\nSo answer1.")),
    "tools": _asked(
        _reply("", tool_calls=[_call({"city": "Rome call1"})]), _result("Warm, result1."), _reply("Warm, answer1."), tools=TOOLS
    ),
    "arguments as text": _asked(
        _reply("", tool_calls=[_call('{"city": "Rome call1"}')]), _result("Warm, result1."), _reply("Warm, answer1."), tools=TOOLS
    ),
    "two calls in a turn": _asked(
        _reply("", tool_calls=[_call({"city": "Rome call1"}), _call({"city": "Oslo call2"}, 2)]),
        _result("Warm, result1."),
        _result("Cold, result2.", 2),
        _reply("Warm and cold, answer1."),
        tools=TOOLS,
    ),
    "tools and reasoning": _asked(
        _reply("", reasoning_content="Look, reasoning1.", tool_calls=[_call({"city": "Rome call1"})]),
        _result("Warm, result1."),
        _reply("Warm, answer1.", reasoning_content="So reasoning2."),
        _user("Thanks, user2."),
        _reply("Welcome, answer2."),
        tools=TOOLS,
    ),
    "content in parts": {
        "messages": [_user([{"type": "text", "text": "Hello, user1?"}]), _reply([{"type": "text", "text": "Fine, answer1."}])]
    },
    "documents": _asked(_reply("Fine, answer1."), documents=DOCUMENTS),
    "empty reply": _asked(_reply(""), _user("And user2?"), _reply("Fine, answer1.")),
    "ends with a user": _asked(_reply("Fine, answer1."), _user("And user2?")),
    "reply to be continued": _asked(_reply("Fine, answer1"), chat_template_kwargs={"continue_final_message": True}),
}
"""Rows, by name."""

PLACES: dict[str, tuple[str, str]] = {
    "system": ("system", "system1"),
    "developer": ("developer", "developer1"),
    "tool": ("tools", "result1"),
    "tools": ("tools", "schema1"),
    "tool_calls": ("tools", "call1"),
    "reasoning_content": ("reasoning", "reasoning1"),
    "documents": ("documents", "document1"),
    "content in parts": ("content in parts", "answer1"),
}
"""Role or field -> the conversation that has it, and the word that shows whether the template prints it."""

ROLES = ("system", "developer", "tool")
"""Roles of `PLACES`; the others are fields."""

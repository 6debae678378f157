"""Conversations of every shape, and chat templates of several families, to try a strategy on."""

from __future__ import annotations

from typing import Any


def _call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


def _user(content: str) -> dict[str, Any]:
    return {"role": "user", "content": content}


def _reply(content: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


CONVERSATIONS: dict[str, dict[str, Any]] = {
    "one turn": {"messages": [_user("What is 12 + 9?"), _reply("It is 21.")]},
    "reasoning": {"messages": [_user("Is 91 prime?"), _reply("No.", reasoning_content="7 * 13 = 91, so it is not.")]},
    "two turns": {
        "messages": [
            {"role": "system", "content": "Be brief."},
            _user("Name a river."),
            _reply("The Loire.", reasoning_content="Any will do."),
            _user("And another?"),
            _reply("The Rhône.\n\nIt is shorter."),
        ]
    },
    "tools": {
        "messages": [
            _user("How warm is it in Oslo and in Rome?"),
            _reply("", reasoning_content="Two calls.", tool_calls=[_call("weather", city="Oslo"), _call("weather", city="Rome")]),
            {"role": "tool", "content": '{"celsius": 3}'},
            {"role": "tool", "content": '{"celsius": 19}'},
            _reply("3 °C in Oslo, 19 °C in Rome."),
        ],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "weather",
                    "description": "Tell the temperature.",
                    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
                },
            }
        ],
    },
    "ends with a call": {"messages": [_user("Roll a die."), _reply("", tool_calls=[_call("roll", sides=6)])]},
    "ends with a question": {"messages": [_user("Hello"), _reply("Hello."), _user("How are you?")]},
    "only a system message and a question": {"messages": [{"role": "system", "content": "You are a clock."}, _user("The time?")]},
    "empty reply": {"messages": [_user("Say nothing."), _reply("")]},
    "Unicode": {"messages": [_user("やあ 👋🏽"), _reply("Żółw 🐢, 日本 and e\u0301.", reasoning_content="ありがとう 🤔")]},
    "code": {"messages": [_user("Print 1."), _reply('Here:\n```python\nprint("1")\n```\nSee [1].')]},
    "long": {"messages": [m for n in range(40) for m in (_user(f"What is {n} + {n}?"), _reply(f"It is {n + n}, of course."))]},
    "weights in the data": {"messages": [_user("One?"), _reply("no", weight=0), _user("Two?"), _reply("yes", weight=0.5)]},
    "prompt and completion": {"prompt": "2 + 3 =", "completion": " 5"},
}
"""Rows by what they show."""

TEMPLATES: dict[str, str] = {
    "chatml": (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
    "drops earlier reasoning": (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n"
        "{% if m.reasoning_content and loop.last %}<think>\n{{ m.reasoning_content }}\n</think>\n\n{% endif %}"
        "{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
    "prefills the opening tag": (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n"
        "{% if m.role == 'assistant' %}<think>\n{{ m.reasoning_content or '' }}\n</think>\n\n{% endif %}"
        "{{ m.content | trim }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
    ),
    "names in brackets": (
        "{% for m in messages %}{% if m.role == 'assistant' %} {{ m.content }}<|im_end|>{% else %}[INST] {{ m.content }} [/INST]"
        "{% endif %}{% endfor %}"
    ),
}
"""Chat templates by what is particular to them; they go with the tiny tokenizer."""

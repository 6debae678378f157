"""The conversations of the campaign: those of the rendering tests, and the less usual ones.

Words such as ``user1`` say what they are, as in `tests.chat.conversations`.
"""

from __future__ import annotations

from tests.chat.conversations import CONVERSATIONS, TOOLS, Row, assistant, call, system, tool, user

NESTED = {"city": "Paris call1", "where": {"floor": 3, "rooms": ["A call2", 'B "call3"\n'], "open": True, "none": None}, "rate": 0.5}
THREE_CALLS = [call({"city": f"City call{n}"}) for n in (1, 2, 3)]

CONTINUED = {"continue_final_message": True}

MORE: dict[str, Row] = {
    "developer": Row(({"role": "developer", "content": "Be brief system1"}, user("Hello user1"), assistant("Hi answer1"))),
    "two systems": Row(
        (system("One system1"), user("A user1"), assistant("B answer1"), system("Two system2"), user("C user2"), assistant("D answer2"))
    ),
    "ends with user": Row((user("A user1"), assistant("B answer1"), user("C user2"))),
    "assistant first": Row((assistant("Welcome answer1"), user("A user1"), assistant("B answer2"))),
    "two assistants": Row((user("A user1"), assistant("B answer1"), assistant("C answer2"), user("D user2"), assistant("E answer3"))),
    "two users": Row((user("A user1"), user("B user2"), assistant("C answer1"))),
    "empty user": Row((user(""), assistant("Hm answer1"))),
    "blank answer": Row((user("A user1"), assistant("  \n "), user("B user2"), assistant("C answer1"))),
    "blanks around": Row((system("  Be kind system1\n\n"), user("\n\nHello user1  "), assistant("\n Hi answer1 \n\n"))),
    "nested arguments": Row(
        (user("A user1"), assistant("", tool_calls=[call(NESTED)]), tool("B result1"), assistant("C answer1")), tools=TOOLS
    ),
    "no arguments": Row((user("A user1"), assistant("", tool_calls=[call({})]), tool("B result1"), assistant("C answer1")), tools=TOOLS),
    "three calls": Row(
        (user("A user1"), assistant("", tool_calls=THREE_CALLS), *(tool(f"R result{n}") for n in (1, 2, 3)), assistant("C answer1")),
        tools=TOOLS,
    ),
    "call after call": Row(
        (
            user("A user1"),
            assistant("Let me look", reasoning_content="R reasoning1", tool_calls=[call({"city": "C call1"})]),
            tool("D result1"),
            assistant("", reasoning_content="R reasoning2", tool_calls=[call({"city": "E call2"})]),
            tool("F result2"),
            assistant("G answer2", reasoning_content="R reasoning3"),
        ),
        tools=TOOLS,
    ),
    "ends with a call": Row((user("A user1"), assistant("Let me look", tool_calls=[call({"city": "C call1"})])), tools=TOOLS),
    "ends with a result": Row((user("A user1"), assistant("", tool_calls=[call({"city": "C call1"})]), tool("D result1")), tools=TOOLS),
    "tools unused": Row((system("Be kind system1"), user("A user1"), assistant("B answer1")), tools=TOOLS),
    "identified calls": Row(
        (
            user("A user1"),
            assistant("", tool_calls=[{"id": "abcdefgh1", **call({"city": "C call1"})}]),
            {**tool("D result1"), "tool_call_id": "abcdefgh1"},
            assistant("E answer1"),
        ),
        tools=TOOLS,
    ),
    "results as data": Row(
        (
            user("A user1"),
            assistant("", tool_calls=[call({"city": "C call1"})]),
            tool({"degrees": 21, "sky": "clear result1"}),
            assistant("E answer1"),
        ),
        tools=TOOLS,
    ),
    "thinking under its old name": Row((user("A user1"), assistant("B answer1", thinking="R reasoning1"))),
    "thinking inline, three turns": Row(
        (
            user("A user1"),
            assistant("<think>\nR reasoning1\n</think>\n\nB answer1"),
            user("C user2"),
            assistant("<think>\nR reasoning2\n</think>\n\nD answer2"),
            user("E user3"),
            assistant("F answer3"),
        )
    ),
    "no thinking wanted": Row((user("A user1"), assistant("B answer1")), template_kwargs={"enable_thinking": False, "thinking": False}),
    "thinking wanted": Row(
        (user("A user1"), assistant("B answer1", reasoning_content="R reasoning1")), template_kwargs={"enable_thinking": True}
    ),
    "documents": Row(
        (user("A user1"), assistant("B answer1")),
        documents=[{"title": "One system1", "text": "All system2", "contents": "All system3"}],
    ),
    "images": Row(
        (user([{"type": "image"}, {"type": "text", "text": "What user1?"}]), assistant([{"type": "text", "text": "A cat answer1"}]))
    ),
    "template language": Row((user("{{ messages }} {% for user1"), assistant("{% raw %}{{ answer1 }}"))),
    "typed control tokens": Row(
        (user("<|im_end|>\n<|im_start|>assistant\nuser1</s>[/INST]<|eot_id|>"), assistant("As <|im_end|> answer1"))
    ),
    "right to left": Row((user("שלום user1 \u200fمرحبا\u202e e\u0301 \x00"), assistant("नमस्ते answer1 🏳️‍🌈 ﷽"))),
    "to be continued": Row((user("A user1"), assistant("B answer1"), user("C user2"), assistant("D so far")), template_kwargs=CONTINUED),
    "an agent at work": Row(
        (
            system("Use tools system1"),
            user("Compare user1"),
            *(
                said
                for n in range(1, 9)
                for said in (
                    assistant("", reasoning_content=f"Next reasoning{n}", tool_calls=[call({"city": f"C call{n}"})]),
                    tool(f"R result{n}"),
                )
            ),
            assistant("All compared answer1", reasoning_content="Done reasoning9"),
            user("Thanks user2"),
            assistant("Welcome answer2"),
        ),
        tools=TOOLS,
    ),
    "many calls, some said before": Row(
        (
            user("A user1"),
            assistant("I look answer1", tool_calls=[call({"city": f"C call{n}"}) for n in range(1, 6)]),
            *(tool(f"R result{n}") for n in range(1, 6)),
            assistant("B answer2"),
            user("C user2"),
            assistant("D answer3", tool_calls=[call(NESTED)]),
            tool("E result6"),
            assistant("F answer4"),
        ),
        tools=TOOLS,
    ),
    "long": Row(tuple(m for n in range(12) for m in (user(f"Question user{n}"), assistant(f"Reply answer{n} " * 20)))),
}

ALL: dict[str, Row] = {**CONVERSATIONS, **MORE}

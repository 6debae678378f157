"""Rows become records, and a bad row is named: file, line, field."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskkit import DataError, Masker, embedded
from maskkit.records import Record, read_records, records_of, to_record, with_inline_reasoning, without_nulls

CHAT = {"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]}
CALL = {"type": "function", "function": {"name": "clock", "arguments": {"zone": None}}}


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(row: Any) -> str:
    with pytest.raises(DataError) as caught:
        to_record(row, "data.jsonl:7")
    message = str(caught.value)
    assert message.startswith("data.jsonl:7: ")
    assert "\n" not in message
    return message.removeprefix("data.jsonl:7: ")


def message(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", **fields}]}


# -- forms


def test_the_three_forms():
    assert to_record(CHAT).form == "messages"
    completion = to_record({"prompt": "a", "completion": "b"})
    assert (completion.form, completion.prompt, completion.completion) == ("completion", "a", "b")
    assert to_record({"text": "a"}).text == "a"


def test_messages_decide_before_other_fields():
    assert to_record({**CHAT, "prompt": "x", "completion": "y", "text": "z"}).form == "messages"
    assert to_record({"messages": None, "text": "z"}).form == "text"


def test_a_record_stays_as_it_is():
    record = to_record(CHAT, "here")
    assert to_record(record, "there") is record


def test_conversations_that_hold_messages_are_messages():
    assert to_record({"conversations": CHAT["messages"]}).messages == to_record(CHAT).messages


def test_a_conversational_prompt_and_completion_are_one_conversation():
    record = to_record({"prompt": CHAT["messages"][:1], "completion": CHAT["messages"][1:]})
    assert record.messages == to_record(CHAT).messages
    assert record.key == to_record(CHAT).key


def test_an_assistant_message_in_the_prompt_would_be_trained_so_it_is_refused():
    assert "prompt[1] is an assistant message" in refusal({"prompt": CHAT["messages"], "completion": CHAT["messages"][1:]})


def test_keys_of_a_message_keep_their_order_and_what_is_none_is_left_out():
    record = to_record({"messages": [{"name": "x", "role": "user", "tool_calls": None, "content": "q"}]})
    assert list(record.messages[0]) == ["name", "role", "content"]


def test_the_row_is_kept_untouched():
    row = message(tool_calls=None)
    assert to_record(row).row is row
    assert row["messages"][1]["tool_calls"] is None


def test_an_assistant_that_calls_tools_or_only_thinks_needs_no_content():
    assert "content" not in to_record(message(content=None, tool_calls=[CALL])).messages[1]
    assert "content" not in to_record(message(content=None, reasoning_content="hm")).messages[1]


def test_arguments_stay_as_the_row_has_them():
    calls = [CALL, {"function": {"name": "f", "arguments": '{"a": 1}'}}, {"name": "g", "arguments": {}}]
    assert to_record(message(tool_calls=calls)).messages[1]["tool_calls"] == calls


def test_tools_may_be_json_text_and_none_of_them_is_none():
    tools = [{"type": "function", "function": {"name": "clock"}}]
    assert to_record({**CHAT, "tools": json.dumps(tools)}).tools == tools
    assert to_record({**CHAT, "tools": []}).tools is None
    assert to_record({**CHAT, "tools": ""}).tools is None


def test_template_arguments_of_the_row():
    assert to_record({**CHAT, "chat_template_kwargs": {"enable_thinking": False}}).template_kwargs == {"enable_thinking": False}


# -- what is refused


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (message(content=3), "messages[1].content is 3, expected text or a list of parts"),
        (message(content=None), "messages[1].content is missing"),
        (message(content=None, tool_calls=[]), "messages[1].content is missing"),
        ({"messages": [{"role": "user", "content": None, "tool_calls": [CALL]}]}, "messages[0].content is missing"),
        (message(content=[{"type": "text", "text": 3}]), "messages[1].content[0].text is 3, expected text"),
        (message(content=[{"type": "smell", "url": "x"}]), "messages[1].content[0].type is 'smell', expected 'text' or one of image, "),
        (message(content=["a"]), "messages[1].content[0] is 'a', expected a part"),
        (message(role=None), "messages[1].role is missing"),
        (message(role=7), "messages[1].role is 7"),
        (message(reasoning_content=["x"]), "messages[1].reasoning_content is ['x'], expected text"),
        (message(tool_calls="f()"), "messages[1].tool_calls is 'f()', expected a list"),
        (message(tool_calls=[{"function": {"name": "f", "arguments": 3}}]), "messages[1].tool_calls[0].function.arguments is 3"),
        (message(tool_calls=[{"function": {"arguments": {}}}]), "messages[1].tool_calls[0].function.name is missing"),
        (message(tool_calls=[{"function": "f"}]), "messages[1].tool_calls[0].function is 'f'"),
        ({"messages": "hello"}, "messages is 'hello', expected a list of messages"),
        ({"messages": []}, "messages is empty"),
        ({"messages": ["hello"]}, "messages[0] is 'hello', expected a message"),
        ({**CHAT, "tools": "f"}, "tools is 'f', expected a list of objects"),
        ({**CHAT, "tools": ["f"]}, "tools[0] is 'f', expected an object"),
        ({**CHAT, "documents": 3}, "documents is 3"),
        ({**CHAT, "chat_template_kwargs": "x"}, "chat_template_kwargs is 'x'"),
        ({"prompt": "a", "completion": 3}, "completion is 3, expected text"),
        ({"prompt": "a", "completion": CHAT["messages"]}, "completion is [{"),
        ({"text": ["a"]}, "text is ['a'], expected text"),
        ({"text": "half \ud83d"}, "text has half a character (\\ud83d) at position 5"),
        ({"messages": [{"role": "user", "content": "\udc00"}]}, "messages[0].content has half a character"),
        ([1], "the row is [1], expected an object"),
    ],
)
def test_a_bad_field_is_named_with_what_was_found(row: Any, said: str):
    assert said in refusal(row)


@pytest.mark.parametrize(
    ("row", "form"),
    [
        ({"conversations": [{"from": "human", "value": "q"}]}, "ShareGPT"),
        ({"instruction": "i", "input": "", "output": "o"}, "Alpaca"),
        ({"chosen": "a", "rejected": "b", "prompt": "p"}, "preference"),
    ],
)
def test_a_known_form_of_another_kind_is_called_by_its_name(row: dict[str, Any], form: str):
    assert form in refusal(row)
    assert all(name in refusal(row) for name in row)


def test_an_unknown_form_lists_what_was_found_and_what_is_known():
    assert refusal({"mesages": [], "id": 1}).startswith("found the fields 'mesages', 'id', expected {'messages': [...]}")
    assert "Did you mean 'messages'?" in refusal({"mesages": [], "id": 1})
    assert "'completion' is not" in refusal({"prompt": "x"})
    assert "(none)" in refusal({})


def test_an_object_that_is_not_data_has_no_key():
    assert "a value is of type object" in refusal({"messages": [{"role": "user", "content": "q", "image": object()}]})


# -- keys


def test_equal_rows_have_equal_keys_wherever_they_stand():
    assert to_record(CHAT, "a:1").key == to_record({"id": 9, **CHAT}, "b:7").key
    assert len(to_record(CHAT).key) == 16


def test_whatever_the_model_sees_is_in_the_key():
    rows = [
        CHAT,
        {**CHAT, "tools": [{"name": "f"}]},
        {**CHAT, "documents": [{"title": "t"}]},
        {**CHAT, "chat_template_kwargs": {"enable_thinking": True}},
        message(reasoning_content="r"),
        {"prompt": "a", "completion": "b"},
        {"prompt": "ab", "completion": ""},
        {"text": "ab"},
    ]
    assert len({to_record(row).key for row in rows}) == len(rows)


@given(st.dictionaries(st.sampled_from(["name", "weight", "x"]), st.none() | st.integers() | st.text("aé日🎉")))
def test_a_key_depends_on_content_not_on_the_order_of_fields(fields: dict[str, Any]):
    one = {"role": "user", "content": "q", **fields}
    other = dict(reversed(one.items()))
    assert to_record({"messages": [one]}).key == to_record({"messages": [other]}).key


# -- files


def test_lines_blank_lines_and_a_byte_order_mark(tmp_path: Path):
    lines = "\ufeff" + json.dumps(CHAT) + "\r\n\n   \n" + json.dumps({"text": "日本語 🎉"}, ensure_ascii=False)
    records = list(read_records(write(tmp_path / "a.jsonl", lines)))
    assert [record.source for record in records] == [f"{tmp_path}/a.jsonl:1", f"{tmp_path}/a.jsonl:4"]
    assert records[1].text == "日本語 🎉"


def test_a_line_separator_inside_a_text_ends_no_line(tmp_path: Path):
    path = write(tmp_path / "a.jsonl", '{"text": "a\u2028b"}\n{"text": "c"}\n')
    assert [record.text for record in read_records(path)] == ["a\u2028b", "c"]


def test_compressed_lines(tmp_path: Path):
    path = write(tmp_path / "a.jsonl.gz", gzip.compress(b'{"text": "a"}\n{"text": 3}\n'))
    records = read_records(path)
    assert next(records).text == "a"
    with pytest.raises(DataError, match=r"a\.jsonl\.gz:2: text is 3"):
        next(records)


@pytest.mark.parametrize("content", ['[{"text": "a"},\n {"text": "b"}]', '{"text": "a"}\n{"text": "b"}\n'])
def test_a_json_file_is_a_list_or_has_a_row_a_line(tmp_path: Path, content: str):
    assert [record.text for record in read_records(write(tmp_path / "a.json", content))] == ["a", "b"]


def test_rows_of_a_list_are_counted_from_0(tmp_path: Path):
    with pytest.raises(DataError, match=r"a\.json: row 1: text is 3"):
        list(read_records(write(tmp_path / "a.json", '[{"text": "a"}, {"text": 3}]')))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b'{"text": "a"}\n{"text": "a"\n', r"a\.jsonl:2: not JSON: .* at column 13"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "\xff"}\n', r"a\.jsonl:2: not UTF-8: byte 0xff at position 10"),
        ("a.jsonl", b"\n[1]\n", r"a\.jsonl:2: the row is \[1\]"),
        ("a.jsonl", b"[" * 100_000, r"a\.jsonl:1: .* nested too deeply"),
        ("a.jsonl", b'{"text": "a", "id": ' + b"9" * 5000 + b"}", r"a\.jsonl:1: .* too many digits"),
        ("a.jsonl", '{"text": "a"}'.encode("utf-16"), r"a\.jsonl:1: not UTF-8 but UTF-16: .*; save the file as UTF-8$"),
        ("a.jsonl", b'[\n{"text": "a"}\n]', r"a\.jsonl:1: the line begins a JSON list, .*; call a file that is .* \.json$"),
        ("a.jsonl", b'[{"text": "a"}]', r"a\.jsonl:1: the line begins a JSON list"),
        ("a.json", b'[{"text": "a"},\n {"text":]', r"a\.json: not JSON: .* at line 2, column 10"),
        ("a.json", b"3", r"a\.json: found 3, expected a JSON list"),
        ("a.jsonl.gz", b"no", r"a\.jsonl\.gz: cannot be read"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "a"}' * 99, mtime=0)[:-9], r"a\.jsonl\.gz: cannot be read"),
        ("a.parquet", b"PAR1 no", r"a\.parquet: not a readable Parquet file"),
        ("a.csv", b"text\na", r"a\.csv: unknown type of file, .*\.jsonl"),
    ],
)
def test_a_file_that_cannot_be_read_says_where(tmp_path: Path, name: str, content: bytes, said: str):
    with pytest.raises(DataError, match=said) as caught:
        list(read_records(write(tmp_path / name, content)))
    assert "\n" not in str(caught.value)


def test_a_bad_line_is_the_one_that_is_named_however_far_behind(tmp_path: Path):
    lines = b'{"text": "a"}\n' * 5000 + b'{"text": "\xe3\x81"}\n'
    with pytest.raises(DataError, match=r"a\.jsonl:5001: not UTF-8"):
        list(read_records(write(tmp_path / "a.jsonl", lines)))


def test_a_missing_file_suggests_its_neighbour(tmp_path: Path):
    write(tmp_path / "train.jsonl", "")
    with pytest.raises(DataError, match=r"there is no file .*trian\.jsonl\. Did you mean 'train\.jsonl'"):
        read_records(tmp_path / "trian.jsonl")


def test_a_table_fills_absent_fields_with_none_which_nobody_wrote(tmp_path: Path):
    rows = [
        message(content="", tool_calls=[{"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}]),
        message(content="", tool_calls=[{"type": "function", "function": {"name": "g", "arguments": {"b": "x"}}}]),
        message(reasoning_content="r"),
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    records = list(read_records(tmp_path / "a.parquet"))
    assert [record.messages for record in records] == [to_record(row).messages for row in rows]
    assert [record.key for record in records] == [to_record(row).key for row in rows]
    assert records[2].source == f"{tmp_path}/a.parquet: row 2"


def test_a_null_that_somebody_wrote_stays():
    assert to_record(message(tool_calls=[CALL])).messages[1]["tool_calls"][0]["function"]["arguments"] == {"zone": None}
    assert without_nulls(CALL)["function"]["arguments"] == {}


def test_a_mapped_data_set_is_a_table_too():
    masker = Masker(embedded.tiny_tokenizer())
    calls = [{"type": "function", "function": {"name": "f", "arguments": arguments}} for arguments in ({"a": 1}, {"a": 1, "b": None})]
    written, filled = (message(content="", tool_calls=[call])["messages"] for call in calls)
    ids = masker.encode_batch({"messages": [written, filled]})["input_ids"]
    assert ids[0].tolist() == ids[1].tolist()
    assert masker({"messages": filled}).input_ids.tolist() != ids[0].tolist()


# -- iterables


def test_rows_of_an_iterable_are_counted_from_0_and_read_as_they_are_asked_for():
    records = records_of(iter([CHAT, {"text": 3}]))
    assert next(records).source == "row 0"
    with pytest.raises(DataError, match=r"^row 1: text is 3"):
        next(records)


def test_one_object_is_no_list_of_rows():
    with pytest.raises(DataError, match="one object with the keys 'train', 'test'"):
        records_of({"train": [], "test": []})


def test_the_bundled_rows_by_name():
    first = next(records_of("quickstart"))
    assert (first.form, first.source) == ("messages", "quickstart:1")


# -- reasoning


def inlined(**fields: Any) -> dict[str, Any]:
    return with_inline_reasoning(to_record(message(**fields))).messages[1]


@pytest.mark.parametrize("name", ["reasoning_content", "thinking", "reasoning"])
def test_reasoning_goes_to_the_head_of_the_content(name: str):
    assert inlined(**{name: "\nbecause\n"}, content="\n\na") == {"role": "assistant", "content": "<think>\nbecause\n</think>\n\na"}


def test_reasoning_before_parts_and_before_calls():
    assert inlined(reasoning="r", content=[{"type": "text", "text": "a"}])["content"] == [
        {"type": "text", "text": "<think>\nr\n</think>\n\n"},
        {"type": "text", "text": "a"},
    ]
    assert inlined(reasoning="r", content=None, tool_calls=[CALL])["content"] == "<think>\nr\n</think>\n\n"


def test_without_reasoning_nothing_changes():
    record: Record = to_record(CHAT)
    assert with_inline_reasoning(record) is record
    assert inlined(reasoning="")["content"] == "a"


def test_which_rows_are_held_out_does_not_depend_on_how_reasoning_is_written():
    record = to_record(message(reasoning="r"))
    assert with_inline_reasoning(record).key == record.key


def test_endings_may_be_in_capitals(tmp_path: Path):
    path = write(tmp_path / "A.JSONL.GZ", gzip.compress(b'{"text": "a"}'))
    assert [record.text for record in read_records(path)] == ["a"]


def test_what_holds_no_rows_is_refused():
    with pytest.raises(DataError, match="data is 3, expected a path or rows"):
        records_of(3)  # type: ignore[arg-type]

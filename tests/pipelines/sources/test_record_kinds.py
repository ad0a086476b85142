"""What becomes of chats and preferences: every usual shape is read, and what is out of order is refused in words."""

import json
from typing import Any

import pytest
from record_samples import delimited, json_lines, parquet, reasons, records

HI, HO = ("user", "hi"), ("assistant", "ho")
SYSTEM = ("system", "Be short.")


def messages(*said: tuple[str, Any]) -> list[dict[str, Any]]:
    return [{"role": role, "content": content} for role, content in said]


def part(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def share_gpt(*said: tuple[str, str]) -> list[dict[str, str]]:
    return [{"from": role, "value": value} for role, value in said]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"messages": messages(HI, HO)}, [HI, HO]),
        ({"conversation": messages(SYSTEM, HI, HO, HI, HO)}, [SYSTEM, HI, HO, HI, HO]),
        ({"conversations": share_gpt(("system", "Be short."), ("human", "hi"), ("gpt", "ho"))}, [SYSTEM, HI, HO]),
        ({"messages": messages(("developer", "Be short."), ("User", "hi"), HO)}, [SYSTEM, HI, HO]),
        ({"messages": messages(("system", ""), HI, HO)}, [HI, HO]),
        (
            {"messages": messages(("user", [part("h"), part("i")]), ("assistant", [part("ho")]))},
            [("user", "h\n\ni"), HO],
        ),
        (
            {"messages": messages(HI, ("assistant", "look: f()"), ("tool", "1"), ("tool", ""), HO)},
            [HI, ("assistant", "look: f()"), ("tool", "1"), ("tool", ""), HO],
        ),
        ({"messages": messages(HI, HO), "system": "Be short."}, [SYSTEM, HI, HO]),
        ({"prompt": "hi", "completion": "ho"}, [HI, HO]),
        ({"prompt": messages(SYSTEM, HI), "completion": messages(HO)}, [SYSTEM, HI, HO]),
        ({"instruction": "hi", "input": "", "output": "ho"}, [HI, HO]),
        ({"instruction": "Add.", "input": "1, 2", "output": "3"}, [("user", "Add.\n\n1, 2"), ("assistant", "3")]),
        ({"instruction": "Sum.", "context": "x", "response": "y"}, [("user", "Sum.\n\nx"), ("assistant", "y")]),
        ({"question": "hi", "answer": "ho", "system_prompt": "Be short."}, [SYSTEM, HI, HO]),
        ({"messages": None, "prompt": "hi", "completion": "ho"}, [HI, HO]),
    ],
)
def test_every_usual_shape_of_a_chat_is_read(row: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert records(json_lines(row), "chat") == {"#1": expected}
    assert records(parquet(row), "chat") == {"#1": expected}


def test_columns_of_a_chat_can_be_named() -> None:
    row = {"q": "hi", "a": "ho", "s": "Be short.", "prompt": "no", "messages": messages(HI, ("assistant", "no"))}
    assert records(parquet(row), "chat", prompt="q", completion="a", system="s") == {"#1": [SYSTEM, HI, HO]}
    assert records(parquet({"x": messages(HI, HO), "messages": "no"}), "chat", messages="x") == {"#1": [HI, HO]}


def test_messages_in_a_csv_file_are_json() -> None:
    content = delimited({"id": 1, "messages": json.dumps(messages(HI, HO))})
    assert records(content, "chat", id="id") == {"#1": [HI, HO]}


def test_a_question_that_stands_in_brackets_is_a_question() -> None:
    assert records(json_lines({"prompt": "[1, 2]", "completion": "[]"}), "chat") == {
        "#1": [("user", "[1, 2]"), ("assistant", "[]")]
    }


ORDER = "a chat goes from user to assistant and so on, system only before them and tool only after assistant"


@pytest.mark.parametrize(
    ("row", "rule", "reason"),
    [
        ({"messages": messages(HO)}, "roles", f"has assistant at the beginning, as message 1: {ORDER}"),
        ({"messages": messages(HI, SYSTEM, HO)}, "roles", f"has system after user, as message 2: {ORDER}"),
        ({"messages": messages(SYSTEM, SYSTEM, HI, HO)}, "roles", f"has system after system, as message 2: {ORDER}"),
        ({"messages": messages(HI, HI, HO)}, "roles", f"has user after user, as message 2: {ORDER}"),
        ({"messages": messages(HI, HO, HO)}, "roles", f"has assistant after assistant, as message 3: {ORDER}"),
        ({"messages": messages(HI, ("tool", "1"), HO)}, "roles", f"has tool after user, as message 2: {ORDER}"),
        ({"messages": messages(HI, HO, ("tool", "1"), HI, HO)}, "roles", f"has user after tool, as message 4: {ORDER}"),
        ({"messages": messages(HI, HO, HI)}, "roles", "ends with user; a chat ends with assistant"),
        ({"messages": messages(HI, HO, ("tool", "1"))}, "roles", "ends with tool; a chat ends with assistant"),
        (
            {"messages": messages(HI, ("narrator", "x"))},
            "roles",
            "has the role 'narrator' in message 2 of its column messages, which is none of system, user, assistant and "
            "tool",
        ),
        ({"messages": messages(HI)}, "no_answer", "has no answer: nobody speaks as assistant"),
        ({"messages": []}, "no_answer", "has no answer: its column messages is empty"),
        ({"messages": messages(HI, ("assistant", " \n"))}, "no_answer", "has no answer: the last one is empty"),
        ({"messages": messages(HI, ("assistant", None))}, "no_answer", "has no answer: the last one is empty"),
        ({"prompt": "hi", "completion": ""}, "no_answer", "has no answer: the last one is empty"),
        ({"prompt": "hi", "completion": None}, "no_answer", "has no answer: the last one is empty"),
        (
            {"messages": messages(("user", ""), HO)},
            "shape",
            "has an empty message: user says nothing in message 1",
        ),
        ({"a": "x", "b": 1}, "shape", "has neither messages nor a prompt with a completion; it has a, b"),
        ({"messages": "hi"}, "shape", "has neither messages nor a prompt with a completion; it has messages"),
        ({"prompt": "hi"}, "shape", "has neither messages nor a prompt with a completion; it has prompt"),
        (
            {"messages": [{"content": "hi"}]},
            "shape",
            "has no role in message 1 of its column messages; a message has a role and a content",
        ),
        (
            {"messages": messages(("user", [{"type": "image_url", "image_url": "x"}]), HO)},
            "shape",
            "has a part of the type image_url in message 1 of its column messages; only texts are read",
        ),
        (
            {"messages": [*messages(HI), {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}]},
            "shape",
            "calls a tool in message 2 of its column messages, which is not read; write the call into the content",
        ),
        ({"prompt": {"a": 1}, "completion": "x"}, "shape", "has an object in its column prompt, where a text is due"),
    ],
)
def test_what_is_no_chat_is_refused_and_says_why(row: dict[str, Any], rule: str, reason: str) -> None:
    content = json_lines(row, {"prompt": "hi", "completion": "ho"})
    assert records(content, "chat") == {"#1": rule, "#2": [HI, HO]}
    assert reasons(content, "chat")["#1"] == reason


def test_a_refusal_names_every_column_of_a_wide_table() -> None:
    row = {"system": "x", "a": 1, "b": 2}
    assert reasons(parquet(row), "chat")["#1"].endswith("; it has system, a, b")
    assert reasons(parquet({f"c{number}": 1 for number in range(50)}), "chat")["#1"].endswith("c18, c19 and 30 more")


CHOSEN, REJECTED = ("chosen", "ho"), ("rejected", "no")
NO = ("assistant", "no")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": "hi", "chosen": "ho", "rejected": "no"}, [HI, CHOSEN, REJECTED]),
        ({"question": "hi", "chosen": "ho", "rejected": "no", "system": "Be short."}, [SYSTEM, HI, CHOSEN, REJECTED]),
        (
            {"prompt": messages(SYSTEM, HI), "chosen": messages(HO), "rejected": messages(NO)},
            [SYSTEM, HI, CHOSEN, REJECTED],
        ),
        ({"chosen": messages(HI, HO), "rejected": messages(HI, NO)}, [HI, CHOSEN, REJECTED]),
        (
            {"chosen": messages(SYSTEM, HI, HO, HI, HO), "rejected": messages(SYSTEM, HI, HO, HI, NO)},
            [SYSTEM, HI, HO, HI, CHOSEN, REJECTED],
        ),
        ({"prompt": "hi", "chosen": messages(HI, HO), "rejected": messages(HI, NO)}, [HI, CHOSEN, REJECTED]),
        (
            {"prompt": "hi", "chosen": messages(HO, HI, HO), "rejected": messages(HO, HI, NO)},
            [HI, HO, HI, CHOSEN, REJECTED],
        ),
        (
            {"chosen": "\n\nHuman: hi\n\nAssistant: ho", "rejected": "\n\nHuman: hi\n\nAssistant: no"},
            [HI, CHOSEN, REJECTED],
        ),
        (
            {"chosen": "The sky is blue.", "rejected": "The sky is black."},
            [("user", "The sky is"), ("chosen", "blue."), ("rejected", "black.")],
        ),
    ],
)
def test_every_usual_shape_of_a_preference_is_read(row: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert records(json_lines(row), "preference") == {"#1": expected}
    assert records(parquet(row), "preference") == {"#1": expected}


def test_columns_of_a_preference_can_be_named() -> None:
    row = {"q": "hi", "good": "ho", "bad": "no", "prompt": "x", "chosen": "y", "rejected": "z"}
    named = {"prompt": "q", "chosen": "good", "rejected": "bad"}
    assert records(parquet(row), "preference", **named) == {"#1": [HI, CHOSEN, REJECTED]}


@pytest.mark.parametrize(
    ("row", "rule", "reason"),
    [
        ({"prompt": "hi", "chosen": "ho", "rejected": " ho\n"}, "equal", "chosen says what rejected says"),
        ({"chosen": messages(HI, HO), "rejected": messages(HI, HO)}, "equal", "chosen says what rejected says"),
        ({"prompt": "hi", "chosen": "ho", "rejected": ""}, "no_answer", "its column rejected is empty"),
        ({"prompt": "hi", "chosen": None, "rejected": "no"}, "no_answer", "its column chosen is empty"),
        ({"prompt": "hi", "chosen": [], "rejected": "no"}, "no_answer", "its column chosen is empty"),
        ({"chosen": "ho", "rejected": "ho ho"}, "no_answer", "nothing is left of chosen after the common beginning"),
        ({"prompt": "hi", "chosen": "ho"}, "shape", "has no column rejected; it has prompt, chosen"),
        ({"chosen": "ho", "rejected": "no"}, "shape", "has no prompt, and its answers do not begin alike"),
        (
            {"chosen": messages(HI, HO, HI, HO), "rejected": messages(HI, NO)},
            "shape",
            "part before the last message: chosen goes on for 3",
        ),
        (
            {"chosen": messages(HI, HO, HI), "rejected": messages(HI, HO, ("user", "x"))},
            "roles",
            "has user as the speaker of chosen; it is assistant",
        ),
        (
            {"prompt": messages(HI, HO), "chosen": "ho", "rejected": "no"},
            "roles",
            "has assistant after assistant, as message 3",
        ),
        (
            {"prompt": "other", "chosen": messages(HI, HO), "rejected": messages(HI, NO)},
            "roles",
            "has user after user, as message 2",
        ),
    ],
)
def test_what_is_no_preference_is_refused_and_says_why(row: dict[str, Any], rule: str, reason: str) -> None:
    content = json_lines(row, {"prompt": "hi", "chosen": "ho", "rejected": "no"})
    assert records(content, "preference") == {"#1": rule, "#2": [HI, CHOSEN, REJECTED]}
    assert reason in reasons(content, "preference")["#1"]

"""A process that answers in a line of JSON: nothing else reaches its standard output; a refusal is exit code 1."""

import subprocess
import sys

import pytest

from forge_pipelines.channel import Refused

_ANSWERS = """
import os, sys
from forge_pipelines.channel import answer
from forge_pipelines.manifest import Value

class Done(Value):
    number: int

def work():
    print("printed by a library", flush=True)
    os.write(1, b"written by a library's own code")
    os.system("echo said by a child")
    return Done(number=7 // int(sys.argv[1]))

sys.exit(answer(work, ZeroDivisionError))
"""


@pytest.mark.parametrize(
    ("divisor", "code", "line"),
    [
        ("1", 0, '{"number":7}\n'),
        ("0", 1, Refused(message="integer division or modulo by zero").model_dump_json() + "\n"),
    ],
)
def test_one_line_is_the_answer_and_all_else_goes_to_the_log(divisor: str, code: int, line: str) -> None:
    ended = subprocess.run([sys.executable, "-c", _ANSWERS, divisor], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (code, line)
    for said in ("printed by a library", "written by a library", "said by a child"):
        assert said in ended.stderr


def test_what_is_no_refusal_ends_the_process_with_its_reason_and_without_an_answer() -> None:
    ended = subprocess.run([sys.executable, "-c", _ANSWERS, "x"], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "ValueError: invalid literal" in ended.stderr

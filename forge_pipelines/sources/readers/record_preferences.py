"""How a record becomes a preference: a prompt, the better answer to it, and the worse one."""

import re
from collections.abc import Sequence
from itertools import takewhile

from forge_pipelines.manifest import Segment
from forge_pipelines.sources.place import ItemError
from forge_pipelines.sources.places.config import RecordColumns
from forge_pipelines.sources.readers.record_chats import PROMPTS, check_order, column, speeches, system_of
from forge_pipelines.sources.readers.record_table import NoShapeError, Row

CHOSEN, REJECTED = ("chosen",), ("rejected",)
"""The usual names of columns."""

_SPEAKER = re.compile(r"(?:\A|\n\n)(Human|Assistant):[ \t]*")
_ROLES = {"Human": "user", "Assistant": "assistant"}

Segments = tuple[Segment, ...]


def preference(row: Row, columns: RecordColumns) -> Segments:
    """Return the prompt's speakers, then one segment `chosen` and one `rejected`.

    Where the answers are whole conversations, the prompt is their common beginning, as TRL's `extract_prompt`_ has it.

    Raises:
        NoShapeError: there is no such column, or no prompt.
        ItemError: an answer is missing, both are equal, or the prompt's roles are out of order.

    .. _extract_prompt: https://huggingface.co/docs/trl/dataset_formats#from-implicit-to-explicit-prompt-dataset
    """
    chosen = _answer(row, columns.chosen, CHOSEN)
    rejected = _answer(row, columns.rejected, REJECTED)
    if _words(chosen) == _words(rejected):
        raise ItemError("equal", "has equal answers: chosen says what rejected says", chosen[-1].text)
    asked = column(row, columns.prompt, PROMPTS)
    prompt = () if asked is None else speeches(row[asked], asked, "user")
    if not prompt and len(chosen) == len(rejected) == 1 and {chosen[0].role, rejected[0].role} == {"assistant"}:
        prompt, chosen, rejected = _parted(chosen[0].text, rejected[0].text)
    else:
        prompt, chosen, rejected = _beginning(prompt, chosen, rejected)
    prompt = system_of(row, columns) + prompt
    if not prompt:
        raise NoShapeError("has no prompt, and its answers do not begin alike")
    answers = _last("chosen", chosen), _last("rejected", rejected)
    check_order((*prompt, Segment("assistant", answers[0].text)))
    return (*prompt, *answers)


def _answer(row: Row, named: str | None, usual: tuple[str, ...]) -> Segments:
    name = column(row, named, usual)
    if name is None:
        raise NoShapeError(f"has no column {named or usual[0]}")
    answer = speeches(row[name], name, "assistant")
    if not answer or not answer[-1].text.strip():
        raise ItemError("no_answer", f"has no answer: its column {name} is empty")
    return answer


def _parted(chosen: str, rejected: str) -> tuple[Segments, Segments, Segments]:
    """Part two texts that hold conversations, or begin with the same words."""
    dialogues = _dialogue(chosen), _dialogue(rejected)
    if dialogues[0] and dialogues[1]:
        return _beginning((), *dialogues)
    pairs = zip(chosen, rejected, strict=False)
    length = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    if any(text[length : length + 1].strip() for text in (chosen, rejected)):  # within a word
        length = max(chosen.rfind(space, 0, length) + 1 for space in " \n\t")
    prompt = chosen[:length].strip()
    answers = [(Segment("assistant", text[length:].strip()),) for text in (chosen, rejected)]
    return (Segment("user", prompt),) if prompt else (), answers[0], answers[1]


def _dialogue(text: str) -> Segments:
    """Return the speakers of a text in the form of Anthropic's hh-rlhf; none where it has another."""
    _, *parts = _SPEAKER.split(text.strip())
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return tuple(Segment(_ROLES[who], said.strip()) for who, said in pairs) if _SPEAKER.match(text.strip()) else ()


def _beginning(prompt: Segments, chosen: Segments, rejected: Segments) -> tuple[Segments, Segments, Segments]:
    """Return the whole prompt, with what the answers repeat of it or have in common, and what is left of them."""
    pairs = zip(chosen, rejected, strict=False)
    common = tuple(pair[0] for pair in takewhile(lambda pair: pair[0] == pair[1], pairs))
    goes_on = common[:1] != () and common[0].role == "assistant"
    repeats = prompt in (common[: len(prompt)], common[-len(prompt) :]) and not goes_on
    return common if repeats or not prompt else prompt + common, chosen[len(common) :], rejected[len(common) :]


def _last(role: str, answer: Segments) -> Segment:
    if len(answer) != 1:
        reason = f"has chosen and rejected answers that part before the last message: {role} goes on for {len(answer)}"
        raise ItemError("shape", reason)
    if answer[0].role != "assistant":
        raise ItemError("roles", f"has {answer[0].role} as the speaker of {role}; it is assistant", answer[0].text)
    if not answer[0].text.strip():
        raise ItemError("no_answer", f"has no answer: nothing is left of {role} after the common beginning")
    return Segment(role, answer[0].text)


def _words(answer: Sequence[Segment]) -> list[tuple[str, str]]:
    return [(segment.role, segment.text.strip()) for segment in answer]

"""Chats are written as the base's own template writes them, and what the assistant says in them is found."""

import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from shard_corpora import CHATML, FAMILIES, LLAMA, MISTRAL, ZEPHYR, chat, write_tokenizer

from forge_pipelines.errors import ConfigError
from forge_pipelines.manifest import Segment
from forge_pipelines.shards.chats import ChatError, ChatTemplate

Template = Callable[[str], ChatTemplate]


def published_templates() -> dict[str, str]:
    """The chat templates of some dozens of families, as TRL keeps them, and those of ours."""
    spec = find_spec("trl")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    folder = Path(spec.submodule_search_locations[0]) / "chat_templates"
    return {path.stem: path.read_text() for path in sorted(folder.glob("*.jinja"))} | FAMILIES


@pytest.fixture
def template(tmp_path: Path) -> Template:
    """A function that gives a chat template beside a small tokenizer."""

    def of(source: str) -> ChatTemplate:
        return ChatTemplate.of(write_tokenizer(tmp_path / "tokenizer", source))

    return of


def turns(*said: str, system: str | None = None) -> tuple[Segment, ...]:
    return chat("desk", *said, system=system).segments


CHATS = [
    turns("Hi?", "Hello."),
    turns("  Who\n\nare you? ", "I am — à propos — {{ a }} clerk.\n", "And <b>you</b>?", " Another \n"),
    turns("Hi?", "Hello.", "How?", "So.", "Why?", "Because.", system="You are 'terse'."),
    (*turns("Add.", "[add(1, 2)]"), Segment("tool", '{"sum": 3}'), Segment("assistant", "Three.")),
    turns("Think.", "<think>\nhm\n</think>\n\nDone.", "Again.", "<think>\nhm, hm\n</think>\n\nDone, done."),
]


def test_each_template_writes_chats_and_prompts_as_transformers_does(tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(write_tokenizer(tmp_path, None))
    compared = refused = 0
    for name, source in published_templates().items():
        if "strftime_now" in source:
            continue
        tokenizer.chat_template = source
        (tmp_path / "chat_template.jinja").write_text(source)
        ours = ChatTemplate.of(tmp_path)
        for segments in CHATS:
            messages = [{"role": segment.role, "content": segment.text} for segment in segments]
            for last, prompts in ((len(messages), False), (len(messages) - 1, True)):
                try:
                    theirs = tokenizer.apply_chat_template(
                        messages[:last], tokenize=False, add_generation_prompt=prompts
                    )
                except Exception as error:  # noqa: BLE001 - whatever a template may raise
                    refused += 1
                    with pytest.raises(ChatError, match=r"\w"):
                        ours.prompt(segments[:last]) if prompts else ours.render(segments)
                    assert type(error).__name__ in {"TemplateError", "UndefinedError"}, (name, error)
                    continue
                compared += 1
                assert (ours.prompt(segments[:last]) if prompts else ours.render(segments).text) == theirs, name
    assert compared > 500
    assert refused > 5


@pytest.mark.parametrize(
    ("source", "answers"),
    [
        (CHATML, ["Hello.<|im_end|>", "So.\n<|im_end|>"]),
        (LLAMA, ["Hello.<|eot_id|>", "So.<|eot_id|>"]),
        (MISTRAL, ["Hello.</s>", "So.\n</s>"]),
        (ZEPHYR, ["Hello.</s>", "So.\n</s>"]),
    ],
)
def test_an_answer_is_what_the_assistant_says_and_the_mark_that_ends_its_turn(
    template: Template, source: str, answers: list[str]
) -> None:
    written = template(source).render(turns("Hi?", "Hello.", "How?", "So.\n"))
    assert [written.text[start:end] for start, end in written.answers] == answers


@pytest.mark.parametrize("source", FAMILIES.values())
def test_each_answer_follows_on_the_prompt_that_it_answers(template: Template, source: str) -> None:
    ours = template(source)
    segments = turns("Hi?", "Hello.", "How?", "So.")
    written = ours.render(segments)
    prompts = [ours.prompt(segments[:number]) for number in (1, 3)]
    assert [written.text[:start] for start, _ in written.answers] == prompts


def test_of_a_template_that_drops_earlier_thinking_only_the_answers_count_that_stay(template: Template) -> None:
    ours = template(published_templates()["qwen3"])
    written = ours.render(CHATS[-1])
    assert [written.text[start:end] for start, end in written.answers] == [
        "<think>\nhm, hm\n</think>\n\nDone, done.<|im_end|>"
    ]
    assert written.num_left_out == 1


def test_what_a_template_writes_at_the_end_of_every_chat_is_no_part_of_its_answers(template: Template) -> None:
    ours = template(CHATML + "{% if not add_generation_prompt %}{{ eos_token }}{% endif %}")
    written = ours.render(turns("Hi?", "Hello.", "How?", "So."))
    assert written.text.endswith("<|im_end|>\n</s>")
    assert [written.text[start:end] for start, end in written.answers] == ["Hello.<|im_end|>", "So.<|im_end|>"]


def test_marks_of_what_is_generated_are_no_text(template: Template) -> None:
    marked, plain = published_templates()["qwen2_5_training"], published_templates()["qwen2_5"]
    assert "generation %}" in marked
    assert template(marked).render(CHATS[2]) == template(plain).render(CHATS[2])


def test_what_is_trained_does_not_depend_on_the_day(template: Template) -> None:
    dated = published_templates()["llama3_2"]
    assert "strftime_now" in dated
    assert "Today Date: 26 Jul 2024" in template(dated).render(CHATS[0]).text
    with pytest.raises(ChatError, match="'strftime_now' is undefined"):
        template("{{ strftime_now('%Y') }}").render(CHATS[0])


def test_a_template_that_refuses_a_chat_says_so_in_its_own_words(template: Template) -> None:
    said = "is not taken by the base's chat template: Conversation roles must alternate user/assistant/user/assistant/"
    with pytest.raises(ChatError, match=f"^{said}$"):
        template(MISTRAL).render(turns("Hi?", "Hello.", system="Be brief."))


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{% set n = namespace() %}{% set n.__class__ = 1 %}",
        "{{ namespace(_hidden=1) }}",
        "{{ dict.__subclasses__() }}",
        "{{ raise_exception.__globals__.keys() }}",
        "{{ 1 + '' }}",
    ],
)
def test_a_template_cannot_reach_python(template: Template, source: str) -> None:
    with pytest.raises(ChatError):
        template(source).render(CHATS[0])


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ messages[0].content.split('') }}", "empty separator"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ range(1000000000) | list }}", "Range too big.*"),
        ("{{ '{name}'.format() }}", "KeyError 'name'"),
        ("{{ '{}'.format() }}", "tuple index out of range"),
        ("{{ 'x' | items | list }}", "Can only get item pairs from a mapping"),
        ("{{ 'é'.encode('ascii') }}", "'ascii' codec can't encode .*"),
        ("{{ messages | dictsort }}", "'list' object has no attribute 'items'"),
        ("{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}", "maximum recursion depth exceeded.*"),
    ],
)
def test_whatever_a_template_does_wrong_with_a_chat_is_a_refusal_of_that_chat(
    template: Template, source: str, said: str
) -> None:
    with pytest.raises(ChatError, match=f"^is not taken by the base's chat template: {said}$") as caught:
        template(source).render(CHATS[0])
    assert caught.value.rule == "chat_template"


def test_a_tokenizer_without_a_chat_template_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        ChatTemplate.of(write_tokenizer(tmp_path, None), "the base llama")
    assert str(caught.value) == (
        "the base llama has no chat template, which chats are written in; adapt a base that has one, or train it with "
        "objective continue"
    )


def test_a_chat_template_that_is_no_template_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        ChatTemplate.of(write_tokenizer(tmp_path, "{% for message in messages %}"), "the base llama")
    said = str(caught.value)
    assert said.startswith("the chat template of the base llama cannot be read: Unexpected end of template")
    assert said.endswith(f"mend {tmp_path}/chat_template.jinja")
    assert "\n" not in said


def test_chats_are_written_without_torch_and_transformers() -> None:
    script = (
        "import sys, forge_pipelines.shards.stage as stage\n"
        "assert stage.open_filling\n"
        "print([name for name in ('torch', 'transformers', 'datasets') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"

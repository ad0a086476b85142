"""A text with columns in braces."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from forge_pipelines.sources.places.config import SqlPlace
from forge_pipelines.sources.places.template import compile_template


def test_columns_stand_where_their_braces_do() -> None:
    template = compile_template("{title}\n\n{body} ({title})")
    assert template.columns == ("title", "body")
    assert template.render({"title": "Pumps", "body": "Grease them."}) == "Pumps\n\nGrease them. (Pumps)"


def test_doubled_braces_are_braces_and_what_a_column_holds_is_no_template() -> None:
    template = compile_template("{{{a}}} {{x}}")
    assert template.render({"a": "{b} {{"}) == "{{b} {{} {x}"


def test_names_may_be_of_several_words_and_any_script() -> None:
    assert compile_template("{Body Text}{Überschrift}{0}").columns == ("Body Text", "Überschrift", "0")


def test_values_are_written_as_people_write_them() -> None:
    template = compile_template("{a}|{b}|{c}|{d}|{e}")
    row = {"a": None, "b": 3, "c": Decimal("1.50"), "d": datetime(2026, 1, 2, 3, tzinfo=UTC), "e": {"k": ["ü", None]}}
    assert template.render(row) == '|3|1.50|2026-01-02T03:00:00+00:00|{"k": ["ü", null]}'


def test_it_knows_whether_it_is_one_column_alone() -> None:
    assert compile_template("{body}").only == "body"
    assert [compile_template(text).only for text in ("{body}\n", "{a}{b}", "{a}{a}")] == [None, None, None]


def test_bytes_are_not_written_as_text() -> None:
    with pytest.raises(TypeError):
        compile_template("a {body}").render({"body": b"%PDF"})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{a.__class__}", "no plain column"),
        ("{a[0]}", "no plain column"),
        ("{a!r}", "no plain column"),
        ("{a:>9999999999}", "no plain column"),
        ("{}", "no plain column"),
        ("{ a }", "no plain column"),
        ("{a", "has no partner"),
        ("a}", "has no partner"),
        ("{a{b}}", "has no partner"),
        ("body", "names no column: write one in braces, such as {body}"),
        ("{{body}}", "names no column"),
    ],
)
def test_what_is_no_plain_column_is_refused_where_the_yaml_says_it(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        compile_template(text)
    with pytest.raises(ValueError, match=sentence):
        SqlPlace(connection="crm", table="articles", text=text)

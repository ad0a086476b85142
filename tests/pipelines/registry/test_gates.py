"""Gates: what can be written, and what passes."""

import math
from typing import Any

import pytest
from pydantic import ValidationError

from forge_pipelines.errors import ConfigError
from forge_pipelines.evaluation.config import EvaluationConfig
from forge_pipelines.evaluation.report import GENERAL_BITS_PER_CHARACTER, METRICS, Metric, Report, metrics_of
from forge_pipelines.registry.config import RegistrationConfig
from forge_pipelines.registry.gates import Verdict, check_gates, judge, parse_gate

NAME = "heldout/bits_per_character"


def report(**changes: Any) -> Report:
    metric = {
        "value": 2.31,
        "interval": (2.2, 2.4),
        "base": 6.42,
        "difference": -4.11,
        "difference_interval": (-4.2, -4.02),
        "references": {"xz": 2.9},
        "direction": "lower",
        "unit": "bits/character",
        "description": "",
        **changes,
    }
    metrics = {NAME: Metric.model_validate(metric)}
    return Report(model="tiny", checkpoint="c" * 64, metrics=metrics, documents=20, characters=9000, settings={})


def verdict(gate: str, **changes: Any) -> Verdict:
    return judge([parse_gate(gate)], report(**changes))[0]


@pytest.mark.parametrize(
    ("gate", "passes"),
    [
        (f"{NAME} < base", True),
        (f"{NAME} <= base", True),
        (f"{NAME} > base", False),
        (f"{NAME}<3.0", True),
        (f"{NAME} < 2.31", False),
        (f"{NAME} <= 2.31", True),
        (f"{NAME} >= 2.31", True),
        (f"{NAME} > 2.5e0", False),
        (f"{NAME} < xz", True),
        (f"{NAME} >= xz", False),
        (f"{NAME} < base - 4", True),
        (f"{NAME} < base-4.1", False),
        (f"{NAME} < base + 0.05", True),
        (f"{NAME} > base -4.3", True),
    ],
)
def test_each_form_of_gate_is_read_and_judged(gate: str, passes: bool) -> None:
    assert verdict(gate).passed is passes


@pytest.mark.parametrize(
    "text",
    ["", NAME, f"{NAME} = 3", f"{NAME} < ", f"{NAME} < bsae", f"{NAME} < nan", f"{NAME} < inf", "< 3", f"{NAME} < 3 4"]
    + [f"{NAME} < {bound}" for bound in ("base + ", "base + x", "base + 1.2.3", "xz + 1", "1 + 1")],
)
def test_a_gate_that_cannot_be_read_is_refused_with_the_form_it_should_have(text: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read; write <metric> <op> <number, base or xz>"):
        parse_gate(text)


def test_a_gate_on_a_metric_that_no_suite_gives_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match=f"«heldout/accuracy > 0.5» names a metric.*there are: .*{NAME}"):
        check_gates(["heldout/accuracy > 0.5"], METRICS)


def test_a_gate_on_general_text_needs_a_corpus_of_general_text() -> None:
    gate = f"{GENERAL_BITS_PER_CHARACTER} < base + 0.05"
    with pytest.raises(ConfigError, match=r"gives only when evaluation\.general is set"):
        check_gates([gate], metrics_of(EvaluationConfig()))
    check_gates([gate], metrics_of(EvaluationConfig(general=("prose",))))


def test_a_margin_says_how_far_from_the_base_the_whole_interval_may_reach() -> None:
    forgetful = {"difference": 0.03, "difference_interval": (0.01, 0.06)}
    judged = verdict(f"{NAME} < base + 0.05", **forgetful)
    assert not judged.passed
    assert judged.gate == f"{NAME} < base + 0.05"
    assert judged.sentence.endswith("[+0.01, +0.06], where the whole interval must be < 0.05: failed")
    assert verdict(f"{NAME} < base + 0.07", **forgetful).passed


def test_the_yaml_is_refused_at_the_very_gate_that_is_wrong() -> None:
    with pytest.raises(ValidationError) as failure:
        RegistrationConfig(gates=(f"{NAME} < base", "nonsense < 1"))
    assert failure.value.errors()[0]["loc"] == ("gates", 1)


@pytest.mark.parametrize("alias", ["latest", "v2"])
def test_an_alias_that_mlflow_reserves_is_refused_before_it_is_needed(alias: str) -> None:
    with pytest.raises(ValidationError, match="reserves the alias"):
        RegistrationConfig(alias=alias)


def test_a_verdict_gives_the_numbers_in_words() -> None:
    assert verdict(f"{NAME} < base").sentence == (f"{NAME} is 2.31, base 6.42, difference −4.11 [−4.2, −4.02]: passed")
    assert verdict(f"{NAME} < 2").sentence == f"{NAME} is 2.31 [2.2, 2.4], to be < 2: failed"


def test_against_the_base_the_whole_interval_must_lie_on_the_right_side_of_zero() -> None:
    straddling = verdict(f"{NAME} < base", difference=-0.1, difference_interval=(-0.3, 0.1))
    assert not straddling.passed
    assert straddling.sentence.endswith("difference −0.1 [−0.3, +0.1], where the whole interval must be < 0: failed")


@pytest.mark.parametrize(
    "gate", [f"{NAME} {op} {bound}" for op in ("<", "<=", ">", ">=") for bound in (3, "base", "xz")]
)
def test_nan_never_passes(gate: str) -> None:
    nan = math.nan
    assert not verdict(gate, value=nan, difference=nan, difference_interval=(nan, nan), references={"xz": nan}).passed


def test_what_the_report_does_not_give_fails() -> None:
    assert not verdict(f"{NAME} < xz", references={}).passed
    assert not judge([parse_gate("heldout/other < 1")], report())[0].passed

"""Gates: what a gate's text means, and whether a report passes. No input or output here."""

import math
import re
from collections.abc import Collection, Iterable
from typing import Literal

from forge_pipelines.errors import ConfigError
from forge_pipelines.evaluation.report import NEEDS, Metric, Report
from forge_pipelines.manifest import Value

BASE = "base"
REFERENCES = ("xz",)
"""What a report's metrics are compared with besides the base."""

_GATE = re.compile(
    r"\s*(?P<metric>[A-Za-z][\w./-]*)\s*(?P<op><=|>=|<|>)\s*(?:base\s*(?P<margin>[+-]\s*[\d.]+)|(?P<bound>\S+))\s*"
)


class Gate(Value):
    """One condition on a report, for example ``heldout/bits_per_character < base``.

    Attributes:
        margin: added to the base, in the metric's unit: ``general/bits_per_character < base + 0.05``.
    """

    metric: str
    op: Literal["<", "<=", ">", ">="]
    bound: float | str
    margin: float = 0.0

    @property
    def text(self) -> str:
        """The gate as its author would write it."""
        bound = self.bound if isinstance(self.bound, str) else f"{self.bound:g}"
        margin = f" {'-' if self.margin < 0 else '+'} {abs(self.margin):g}" if self.margin else ""
        return f"{self.metric} {self.op} {bound}{margin}"

    def holds(self, left: float, right: float) -> bool:
        """Compare two numbers the gate's way; NaN on either side never holds."""
        match self.op:
            case "<":
                return left < right
            case "<=":
                return left <= right
            case ">":
                return left > right
            case ">=":
                return left >= right


class Verdict(Value):
    """What became of one gate, with a sentence that gives the numbers."""

    gate: str
    passed: bool
    sentence: str


def parse_gate(text: str) -> Gate:
    """Read a gate of the form ``<metric> <op> <number, base or xz>``.

    Raises:
        ConfigError: the text has another form.
    """
    match = _GATE.fullmatch(text)
    bound = _bound(match["bound"] or BASE) if match else None
    margin = _finite("".join((match["margin"] or "0").split())) if match else None
    if match is None or bound is None or margin is None:
        raise ConfigError(
            f"gate «{text}» cannot be read; write <metric> <op> <number, base or xz>, where op is <, <=, > or >=, and "
            "base may be followed by + or - and a number"
        )
    return Gate(metric=match["metric"], op=match["op"], bound=bound, margin=margin)


def _bound(text: str) -> float | str | None:
    return text if text == BASE or text in REFERENCES else _finite(text)


def _finite(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def check_gates(gates: Iterable[str], known_metrics: Collection[str]) -> None:
    """Refuse gates that cannot be read, and gates on a metric that no suite gives; cheap, done when the YAML loads.

    Raises:
        ConfigError: naming the gate, and the metrics that there are.
    """
    for text in gates:
        gate = parse_gate(text)
        if gate.metric not in known_metrics:
            raise ConfigError(f"gate «{text}» names a metric that {_why_unknown(gate.metric, known_metrics)}")


def _why_unknown(metric: str, known_metrics: Collection[str]) -> str:
    if metric in NEEDS:
        return f"the report gives only when {NEEDS[metric]}; see to that, or remove the gate"
    return f"no suite gives; there are: {', '.join(sorted(known_metrics))}"


def judge(gates: Iterable[Gate], report: Report) -> tuple[Verdict, ...]:
    """Hold a report to its gates, in their order.

    Against the base the whole 95 % interval of the paired difference must lie on the gate's side of zero, or of the
    margin that the gate adds to the base; against a number or a reference it is the value itself that counts. NaN
    passes nothing.
    """
    return tuple(_judge(gate, report) for gate in gates)


def _judge(gate: Gate, report: Report) -> Verdict:
    metric = report.metrics.get(gate.metric)
    if metric is None:
        return _verdict(gate, passed=False, numbers=f"the report does not give {gate.metric}")
    if gate.bound == BASE:
        return _against_base(gate, metric)
    return _against_number(gate, metric)


def _against_base(gate: Gate, metric: Metric) -> Verdict:
    numbers = (
        f"{gate.metric} is {_figure(metric.value)}, base {_figure(metric.base)}, "
        f"difference {_figure(metric.difference, sign='+')} {_interval(metric.difference_interval, sign='+')}"
    )
    passed = all(gate.holds(end, gate.margin) for end in (metric.difference, *metric.difference_interval))
    wanted = f", where the whole interval must be {gate.op} {_figure(gate.margin)}" if gate.margin or not passed else ""
    return _verdict(gate, passed=passed, numbers=numbers + wanted)


def _against_number(gate: Gate, metric: Metric) -> Verdict:
    numbers = f"{gate.metric} is {_figure(metric.value)} {_interval(metric.interval)}"
    bound = metric.references.get(gate.bound) if isinstance(gate.bound, str) else gate.bound
    if bound is None:
        return _verdict(gate, passed=False, numbers=f"{numbers}, and the report does not give {gate.bound}")
    name = f"{gate.bound} " if isinstance(gate.bound, str) else ""
    wanted = f"{numbers}, to be {gate.op} {name}{_figure(bound)}"
    return _verdict(gate, passed=gate.holds(metric.value, bound), numbers=wanted)


def _verdict(gate: Gate, *, passed: bool, numbers: str) -> Verdict:
    return Verdict(gate=gate.text, passed=passed, sentence=f"{numbers}: {'passed' if passed else 'failed'}")


def _figure(number: float, sign: str = "") -> str:
    return f"{number:{sign}.4g}".replace("-", "−")


def _interval(ends: tuple[float, float], sign: str = "") -> str:
    return f"[{_figure(ends[0], sign)}, {_figure(ends[1], sign)}]"

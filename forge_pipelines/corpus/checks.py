"""A measured number held to a bound, for many texts at once."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forge_pipelines.corpus.words import Flags

Measured = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Check:
    """One rule over some texts: which fail it, and what was measured: both of shape [texts]."""

    rule: str
    failed: Flags
    measured: Measured
    sentence: str

    def reason(self, text: int) -> str:
        """Say what was measured of a text, and the bound that it breaks."""
        return self.sentence.format(_written(float(self.measured[text])))


def at_least(rule: str, measured: Measured, bound: float | None, what: str, applies: Flags | None = None) -> Check:
    """Fail the texts of which less was measured than a bound; none, if there is no bound.

    Args:
        rule: name of the rule.
        measured: one number for each text: shape [texts].
        bound: the least that passes.
        what: what was measured, with ``{}`` for the number.
        applies: the texts that the rule speaks of: shape [texts]; all, if None.
    """
    if bound is None:
        return _check(rule, np.zeros(len(measured), np.bool_), measured, what, applies)
    return _check(rule, measured < bound, measured, f"{what}, less than {_written(float(bound))}", applies)


def at_most(rule: str, measured: Measured, bound: float | None, what: str, applies: Flags | None = None) -> Check:
    """Fail the texts of which more was measured than a bound; the arguments are those of `at_least`."""
    if bound is None:
        return _check(rule, np.zeros(len(measured), np.bool_), measured, what, applies)
    return _check(rule, measured > bound, measured, f"{what}, more than {_written(float(bound))}", applies)


def _check(rule: str, failed: Flags, measured: Measured, sentence: str, applies: Flags | None) -> Check:
    return Check(rule, failed if applies is None else failed & applies, measured, sentence)


def _written(number: float) -> str:
    return f"{number:.0f}" if number.is_integer() else f"{number:.4g}"

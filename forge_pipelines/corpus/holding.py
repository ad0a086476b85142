"""Holds a corpus to its expectations and draws it: work that needs libraries which take seconds to load.

So it is prepared beside the making of the corpus, in a process of its own where the corpus is worth one.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from forge_pipelines.corpus.config import CorpusConfig
from forge_pipelines.corpus.data_docs import data_docs_page
from forge_pipelines.corpus.expectations import Built, build, hold
from forge_pipelines.corpus.findings import Finding
from forge_pipelines.corpus.reading import TABLE, read_lengths
from forge_pipelines.engine.work import Work
from forge_pipelines.pictures import draw_lengths


@dataclass(frozen=True, slots=True)
class Written:
    """A corpus as it stands in a folder, and what is known already to warn of."""

    folder: Path
    warnings: Sequence[Finding]


@dataclass(frozen=True, slots=True)
class Held:
    """What is published of it.

    Attributes:
        expectations: what became of each, JSON.
        data_docs: a page of HTML.
        picture: documents' lengths as PNG, for Dagster.
        drawing: the same as SVG, for the report.
        warnings: a sentence for each expectation that only warns and does not hold.
    """

    expectations: str
    data_docs: str
    picture: bytes
    drawing: bytes
    warnings: Sequence[str]


def holding(config: CorpusConfig) -> Work:
    """Return the work that turns what is `Written` into what is `Held`."""
    return Work(module=__name__, function=prepare.__name__, argument=config.model_dump_json())


def prepare(argument: str) -> Callable[[Written], Held]:
    """Load the libraries, and build a corpus's expectations.

    Raises:
        ConfigError: an expectation is unknown, or does not take the arguments that it is given.
    """
    import matplotlib.figure  # noqa: F401

    config = CorpusConfig.model_validate_json(argument)
    return partial(_hold, config, build(config))


def _hold(config: CorpusConfig, built: Built, written: Written) -> Held:
    findings = hold(config, built, written.folder / TABLE)
    findings.require(config.name)
    findings, lengths = findings.with_more(written.warnings), read_lengths(written.folder)
    return Held(
        expectations=json.dumps(findings.rows(), indent=2, sort_keys=True) + "\n",
        data_docs=data_docs_page(config.name, findings),
        picture=draw_lengths(lengths, "png"),
        drawing=draw_lengths(lengths, "svg"),
        warnings=[warning.sentence for warning in findings.failed("warning")],
    )

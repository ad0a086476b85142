"""Holds the per-document table to Great Expectations: the corpus's own list, and a few that are always held."""

import difflib
import importlib.util
import json
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from textwrap import shorten
from typing import Any

import pyarrow.parquet as pq

from forge_pipelines.corpus.config import CorpusConfig, Expectation
from forge_pipelines.corpus.findings import Finding, Findings
from forge_pipelines.corpus.table import COLUMNS
from forge_pipelines.errors import ConfigError

BUILT_IN = (
    Expectation(type="expect_column_values_to_not_be_null", kwargs={"column": "doc_id"}),
    Expectation(type="expect_column_values_to_be_unique", kwargs={"column": "doc_id"}),
    Expectation(type="expect_column_values_to_be_unique", kwargs={"column": "text_sha256"}),
    Expectation(
        type="expect_column_values_to_be_in_set", kwargs={"column": "split", "value_set": ["train", "heldout"]}
    ),
)

Built = list[Any]
"""Great Expectations' own objects for the expectations of a corpus."""

_SEVERITY = {"error": "critical", "warning": "warning"}
_ORDER = "forge_order"
_MAX_EXAMPLES = 3
_SHOWN_CHARACTERS = 300


def check_expectations(config: CorpusConfig) -> None:
    """Check types and column names of a corpus's expectations, in milliseconds: the library is not imported.

    Raises:
        ConfigError: Great Expectations has no such expectation, or the table has no such column.
    """
    for expectation in config.expectations:
        if expectation.type not in _known_types():
            message = f"corpus {config.name}: Great Expectations has no expectation {expectation.type}"
            raise ConfigError(message + _nearest(expectation.type, _known_types()))
        listed = expectation.kwargs.get("column_list", [""])
        if not (isinstance(listed, Sequence) and not isinstance(listed, str) and listed):
            title = f"corpus {config.name}: {expectation.type} is given a column_list that lists no column"
            raise ConfigError(f"{title}; write one such as [doc_id, uri]")
        for column in _columns(expectation):
            if column not in COLUMNS:
                message = f"corpus {config.name}: {expectation.type} names column {column}, which the table has not"
                raise ConfigError(message + _nearest(column, frozenset(COLUMNS)))


def build(config: CorpusConfig) -> Built:
    """Return Great Expectations' own objects for all expectations of a corpus, the ones always held first.

    Raises:
        ConfigError: an expectation is unknown, or does not take the arguments that it is given.
    """
    _defer_statistics()
    from great_expectations.compatibility.pydantic import ValidationError
    from great_expectations.exceptions import GreatExpectationsError
    from great_expectations.expectations.registry import get_expectation_impl

    check_expectations(config)
    built = []
    for order, expectation in enumerate((*BUILT_IN, *config.expectations)):
        given = {**expectation.kwargs, "severity": _SEVERITY[expectation.severity]}
        title = f"corpus {config.name}: {expectation.type} is given wrong arguments"
        try:
            made = get_expectation_impl(expectation.type)(**given)
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
            raise ConfigError(f"{title}: {faults}") from error
        except GreatExpectationsError as error:
            raise ConfigError(f"{title}: {error}") from error
        # Results come back in an order of the library's own: mark each with its place in the list.
        made.meta = {**(made.meta or {}), _ORDER: order}
        built.append(made)
    return built


def hold(config: CorpusConfig, built: Built, table: Path) -> Findings:
    """Hold the per-document table to expectations.

    Args:
        config: the corpus.
        built: what `build` returned.
        table: the Parquet file.

    Raises:
        ConfigError: an expectation cannot be computed over the table.
    """
    import great_expectations as gx

    # An ephemeral context keeps all in memory. This release has no usage statistics to send; say so all the same.
    context = gx.get_context(mode="ephemeral", project_config=_context_config())
    asset = context.data_sources.add_pandas("forge").add_dataframe_asset(config.name)
    frame = pq.read_table(table).to_pandas()
    batch = asset.add_batch_definition_whole_dataframe("table").get_batch({"dataframe": frame})
    outcome = _validated(config, built, batch)
    # Through JSON, because the library does not render numpy's numbers.
    result = json.loads(json.dumps(outcome.to_json_dict(), default=lambda number: number.item()))
    result["results"].sort(key=lambda each: each["expectation_config"]["meta"][_ORDER])
    each = tuple(
        _finding(config.name, expectation, outcome)
        for expectation, outcome in zip((*BUILT_IN, *config.expectations), result["results"], strict=True)
    )
    return Findings(each, result)


def _defer_statistics() -> None:
    """Let `scipy.stats`, a quarter of what the library takes to load, be loaded when an expectation asks for it."""
    import scipy  # type: ignore[import-untyped]

    name = "scipy.stats"
    if name in sys.modules:
        return
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.loader is not None, "great-expectations depends on scipy"
    spec.loader = importlib.util.LazyLoader(spec.loader)
    sys.modules[name] = scipy.stats = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(scipy.stats)


def _validated(config: CorpusConfig, built: Built, batch: Any) -> Any:
    from great_expectations.core import ExpectationSuite
    from great_expectations.exceptions import GreatExpectationsError

    try:
        return batch.validate(ExpectationSuite(config.name, expectations=built), result_format="SUMMARY")
    except GreatExpectationsError as error:
        raise ConfigError(f"corpus {config.name}: the expectations cannot be computed: {error}") from error
    except Exception as error:  # some expectations of the library raise what it does not catch
        if len(built) == 1:
            title = f"corpus {config.name}: {built[0].expectation_type} cannot be computed over the per-document table"
            fault = shorten(f"{type(error).__name__}: {error}", _SHOWN_CHARACTERS)
            raise ConfigError(f"{title}: {fault}; mend its kwargs") from error
        for each in built:
            _validated(config, [each], batch)
        raise


def _context_config() -> Any:
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    return DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),
        analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False),
    )


def _finding(corpus: str, expectation: Expectation, outcome: Mapping[str, Any]) -> Finding:
    fault = _fault(outcome["exception_info"])
    if fault is not None:
        raise ConfigError(
            f"corpus {corpus}: {expectation.type} cannot be computed over the per-document table: {fault}"
        )
    result = outcome["result"]
    return Finding(
        type=expectation.type,
        column=", ".join(_columns(expectation)) or None,
        kwargs=expectation.kwargs,
        severity=expectation.severity,
        success=outcome["success"],
        observed=result.get("observed_value"),
        rows=result.get("element_count"),
        unexpected=result.get("unexpected_count"),
        examples=_examples(result.get("partial_unexpected_list", ())),
    )


def _examples(values: Sequence[Any]) -> tuple[str, ...]:
    distinct = dict.fromkeys(str(value) for value in values if value is not None)
    return tuple(distinct)[:_MAX_EXAMPLES]


def _fault(exception_info: Mapping[str, Any]) -> str | None:
    # Either one such record, or one for each metric that failed.
    records = [exception_info] if "raised_exception" in exception_info else exception_info.values()
    faults = [record["exception_message"] for record in records if record["raised_exception"]]
    return " ".join(faults[0].split()) if faults else None


@cache
def _known_types() -> frozenset[str]:
    # The index that the library ships of its own expectations, found without importing it.
    spec = importlib.util.find_spec("great_expectations")
    assert spec is not None and spec.submodule_search_locations, "great-expectations is a dependency of Forge"
    path = Path(spec.submodule_search_locations[0], "expectations", "core", "schemas", "index.json")
    index = json.loads(path.read_text())
    return frozenset([*index["expectations"], *index["documented_absent"]])


def _columns(expectation: Expectation) -> tuple[str, ...]:
    kwargs = expectation.kwargs
    single = [kwargs[name] for name in ("column", "column_A", "column_B") if name in kwargs]
    return tuple(str(column) for column in (*single, *(kwargs.get("column_list") or ())))


def _nearest(word: str, words: frozenset[str]) -> str:
    nearest = difflib.get_close_matches(word, sorted(words), n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""

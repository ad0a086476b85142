"""Great Expectations' Data Docs of a corpus, as one page that loads nothing from anywhere.

The library's own site takes styles, scripts and pictures from public servers. Here its renderers make the contents,
and the template beside this file is the page around them.
"""

from collections.abc import Mapping
from html import escape
from itertools import count
from pathlib import Path
from typing import Any

from forge_pipelines.corpus.findings import Findings


def data_docs_page(corpus: str, findings: Findings) -> str:
    """Return the page as HTML: the same bytes for the same findings."""
    from great_expectations.core.expectation_validation_result import expectationSuiteValidationResultSchema
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView
    from jinja2 import ChoiceLoader, FileSystemLoader

    result = expectationSuiteValidationResultSchema.load(_renderable(findings.result))
    document = ValidationResultsPageRenderer(run_info_at_end=True).render(result)
    document.sections = document.sections[1:-1]  # without overview and run info: they name times and other pages
    view = DefaultJinjaPageView()
    view.env.loader = ChoiceLoader([FileSystemLoader(Path(__file__).parent), view.env.loader])
    numbers = count()
    view.env.filters["generate_html_element_uuid"] = lambda prefix: f"{prefix}{next(numbers)}"
    page: str = view.render(document, template="data_docs.j2", corpus=corpus, findings=findings.each)
    return page


def _renderable(result: Mapping[str, Any]) -> dict[str, Any]:
    return {**result, "results": [{**each, "result": _shown(each["result"])} for each in result["results"]]}


def _shown(result: Mapping[str, Any]) -> Any:
    # The renderer needs the number of rows for what it says of single values; of distinct values there is none.
    counted = "element_count" in result
    # It writes values as they are: a document's name could be markup.
    return _escaped({key: value for key, value in result.items() if counted or "unexpected" not in key})


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, Mapping):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    return value

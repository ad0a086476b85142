"""The model card: what a person must know before using a model, as Markdown. A function of the manifests alone."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from forge_pipelines.evaluation.report import Report
from forge_pipelines.evaluation.verdict import forgetting
from forge_pipelines.manifest import Classification, Manifest
from forge_pipelines.registry.gates import Verdict
from forge_pipelines.registry.runs import dotted
from forge_pipelines.registry.upstream import Upstream

_AUDIENCE: Mapping[Classification, str] = {
    Classification.PUBLIC: "All that it learned from is public: anyone may use it.",
    Classification.INTERNAL: "It learned from internal documents: it is for people of the organisation, and must not "
    "answer anyone outside it.",
    Classification.CONFIDENTIAL: "It learned from confidential documents: it is only for people who may read these "
    "documents themselves.",
    Classification.RESTRICTED: "It learned from restricted documents: it is only for the people named for each of "
    "these documents, and must not be served to anyone else.",
}


def write_card(upstream: Upstream, report: Report, verdicts: Sequence[Verdict], *, alias: str, weights: str) -> str:
    """Return the model card of a checkpoint that was measured and judged.

    ``alias`` is what the registered version is called in MLflow, ``weights`` where the weights stand in the store.
    """
    parts = [
        f"# {report.model}",
        _summary(upstream, report),
        "## How good it is",
        f"Measured on {report.documents:,} held-out documents ({report.characters:,} characters). Intervals are 95 %.",
        _metrics(report),
        "## Gates",
        _bullets(verdict.sentence for verdict in verdicts) or "None were set.",
        "## What it must not be used for",
        _limits(upstream, report),
        "## What it learned from",
        _table(("source", "licence", "classification", "owner", "made"), _source_rows(upstream)),
        _table(("corpus", "classification", "made"), _rows(upstream.corpora)),
        f"Shards: {_counts(upstream.shards.counts)}.",
        "## How to load it",
        _loading(report.model, alias, weights),
        "## How it was trained",
        f"Made: {_counts(upstream.checkpoint.counts)}. Measured: {_counts(upstream.checkpoint.measured)}.",
        _table(("setting", "value"), dotted(upstream.checkpoint.parameters)),
        "## Fingerprints",
        _table(("made from", "fingerprint"), upstream.fingerprints().items()),
    ]
    return "\n\n".join(parts) + "\n"


def _summary(upstream: Upstream, report: Report) -> str:
    sources = ", ".join(source.name for source in upstream.sources)
    recipe = upstream.checkpoint.parameters.get("architecture")
    kind = f"A {recipe['model_type'] if recipe else 'language'} model that continues text, trained"
    made = f"The open model {report.adapted_from}, adapted" if report.adapted_from else kind
    return (
        f"{made} by Forge on: {sources}. "
        f"Classification: **{upstream.classification}**. Checkpoint `{report.checkpoint[:12]}`."
    )


def _metrics(report: Report) -> str:
    rows = [
        (
            f"`{name}` ({metric.unit}, {metric.direction} is better)",
            f"{metric.value:.4g} {_interval(metric.interval)}",
            f"{metric.base:.4g}",
            f"{metric.difference:+.4g} {_interval(metric.difference_interval)}",
            ", ".join(f"{other} {value:.4g}" for other, value in metric.references.items()),
        )
        for name, metric in report.metrics.items()
    ]
    return _table(("metric", "this model", "base", "difference", "for comparison"), rows)


def _limits(upstream: Upstream, report: Report) -> str:
    purposes = [
        f"{source.name}: its documents may be used for {upstream.labels(source)['purpose']}, and so may the model."
        for source in upstream.sources
        if upstream.labels(source)["purpose"]
    ]
    return _bullets(
        [
            _AUDIENCE[upstream.classification],
            *purposes,
            "It can repeat passages of its training documents word for word.",
            "It writes what is likely, which need not be true: not for decisions about people, and for nothing that "
            "nobody checks.",
            forgetting(report)
            or "It was measured on documents like those it learned from; elsewhere it is worse, by an unknown amount.",
        ]
    )


def _loading(model: str, alias: str, weights: str) -> str:
    return (
        f"```python\nimport mlflow\n\ngenerate = mlflow.transformers.load_model('models:/{model}@{alias}')\n"
        "print(generate('Once', max_new_tokens=20))\n```\n\n"
        f"MLflow holds the tokenizer; the weights stand once, in `{weights}`. Where that is not mounted, copy it and "
        "pass `base_model_path='/the/copy'`."
    )


def _source_rows(upstream: Upstream) -> Iterable[tuple[str, ...]]:
    for source in upstream.sources:
        labels = upstream.labels(source)
        yield source.name, labels["licence"], source.classification, labels["owner"] or "", _counts(source.counts)


def _rows(manifests: Sequence[Manifest]) -> Iterable[tuple[str, ...]]:
    return ((manifest.name, manifest.classification, _counts(manifest.counts)) for manifest in manifests)


def _counts(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_number(value)}" for name, value in _flat(counts))


def _flat(counts: Mapping[str, Any]) -> Iterable[tuple[str, str | float]]:
    return ((name, value) for name, value in counts.items() if isinstance(value, str | int | float))


def _number(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _interval(ends: tuple[float, float]) -> str:
    return f"[{ends[0]:.4g}, {ends[1]:.4g}]"


def _bullets(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(str(text).replace("|", "\\|").split())

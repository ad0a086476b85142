"""What a person sees of a materialization in the web UI: answers, then tables, samples, pictures, links and numbers."""

import json
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import dagster as dg

from forge_assets.pages import page_url
from forge_assets.settings import load_settings
from forge_assets.summary import (
    Summary,
    summarize_checkpoint,
    summarize_corpus,
    summarize_documents,
    summarize_registration,
    summarize_report,
    summarize_shards,
)
from forge_pipelines.corpus import reading
from forge_pipelines.corpus.page import PAGE
from forge_pipelines.evaluation.reading import read_report
from forge_pipelines.evaluation.report import Report
from forge_pipelines.evaluation.stage import BEFORE_AFTER_PICTURE
from forge_pipelines.manifest import Document, Manifest, Rejection
from forge_pipelines.pictures import LENGTHS_PICTURE
from forge_pipelines.registry.stage import MODEL_VERSION, VERDICTS, ModelVersion
from forge_pipelines.shards.reading import STAGE as SHARDS
from forge_pipelines.sources.assembly import DOCUMENTS, REJECTIONS
from forge_pipelines.sources.identity import standing
from forge_pipelines.store import Publication, Store
from forge_pipelines.tables import find_documents, read_rejections, sample
from forge_pipelines.training.stage import LOSS_PICTURE

Metadata = Mapping[str, Any]

_CURVES = {"loss": "loss", "gradient norm": "grad_norm", "learning rate": "learning_rate"}
_SAMPLES = 3
_FORMATS = 5
_SAMPLE_CHARACTERS = 600
_WIDTH = 44


def materialization(
    publication: Publication,
    store: Store,
    metadata: Metadata,
    checks: Sequence[dg.AssetCheckResult] = (),
) -> dg.MaterializeResult:
    """Report a publication to Dagster; the manifest's fingerprint is the asset's data version."""
    manifest = publication.manifest
    told = {**manifest.counts, **manifest.measured}
    numbers = {name.replace("_", " "): value for name, value in told.items() if isinstance(value, int | float | str)}
    return dg.MaterializeResult(
        data_version=dg.DataVersion(manifest.fingerprint),
        metadata={
            **metadata,
            **numbers,
            "forge/worked": publication.fresh,
            "forge/seconds": round(publication.seconds, 2),
            "forge/fingerprint": manifest.fingerprint,
            "forge/classification": manifest.classification.value,
            "forge/bytes": manifest.num_bytes,
            "forge/address": dg.MetadataValue.path(store.address_of(manifest)),
            "forge/made_from": dg.MetadataValue.json(dict(manifest.inputs)),
        },
        check_results=list(checks),
    )


def describe_documents(folder: Path, manifest: Manifest) -> Metadata:
    """Describe raw documents: formats, languages, labels, what was rejected and why, a sample of each format."""
    counts = manifest.counts
    kinds = {} if set(counts["by_kind"]) == {"text"} else {"kinds": _counted("kind", counts["by_kind"])}
    return {
        **_told(summarize_documents(manifest)),
        "lengths": _picture(manifest, LENGTHS_PICTURE, "lengths of documents"),
        "formats": _counted("format", counts["by_media_type"]),
        **kinds,
        "languages": _counted("language", counts["by_language"]),
        "classifications": _counted("classification", counts["by_classification"]),
        "rejections": _rejections(folder / REJECTIONS, manifest),
        "samples": _excerpts(_of_each_format(folder / DOCUMENTS, counts["by_media_type"])),
    }


def describe_corpus(folder: Path, manifest: Manifest) -> Metadata:
    """Describe a corpus: what each source gave, what was rejected and why, samples, Data Docs."""
    return {
        **_told(summarize_corpus(manifest)),
        "report": _link("open the report", page_url(manifest, PAGE)),
        "data docs": _link("open Data Docs", page_url(manifest, f"{reading.DATA_DOCS}/index.html")),
        "lengths": _picture(manifest, LENGTHS_PICTURE, "lengths of documents"),
        "sources": _counted("source", manifest.counts["documents_by_source"], "documents"),
        "languages": _counted("language", manifest.counts["by_language"]),
        "placeholders": _counted("what was found", manifest.counts["redactions_by_kind"], "times"),
        "rejections": _rejections(folder / reading.REJECTIONS, manifest),
        "samples": _excerpts(sample(reading.read_train(folder), _SAMPLES)),
    }


def describe_shards(folder: Path, manifest: Manifest) -> Metadata:
    """Describe shards: the trainable tokens that each source gave, what was rejected and why."""
    return {
        **_told(summarize_shards(manifest)),
        "sources": _counted("source", manifest.counts["trainable_tokens_by_source"], "trainable tokens"),
        "rejections": _rejections(folder / REJECTIONS, manifest),
    }


def describe_checkpoint(folder: Path, manifest: Manifest) -> Metadata:
    """Describe a checkpoint: its loss curve as a picture and as numbers."""
    history = json.loads((folder / "history.json").read_text())
    shown = history[:: max(1, len(history) // 50)]
    return {
        **_told(summarize_checkpoint(manifest, history[0]["loss"])),
        "loss curve": _picture(manifest, LOSS_PICTURE, "loss by step"),
        "loss by step": dg.MetadataValue.table(
            [dg.TableRecord({"step": int(row["step"]), **_rounded(row)}) for row in shown],
            schema=_schema(step="int", **dict.fromkeys(_CURVES, "float")),
        ),
    }


def _rounded(row: Mapping[str, float]) -> Mapping[str, float]:
    return {name: float(f"{row[key]:.4g}") for name, key in _CURVES.items()}


def describe_report(folder: Path, manifest: Manifest) -> Metadata:
    """Describe a report: each metric beside its base, the before/after picture, the answers, and where the page is."""
    report = read_report(folder)
    rows = [
        dg.TableRecord(
            {
                "metric": name,
                "checkpoint": round(metric.value, 4),
                "base": round(metric.base, 4),
                "difference": round(metric.difference, 4),
                "interval": "{:.3f} … {:.3f}".format(*metric.difference_interval),
            }
        )
        for name, metric in report.metrics.items()
    ]
    schema = _schema(metric="string", checkpoint="float", base="float", difference="float", interval="string")
    return {
        **_told(summarize_report(report)),
        "report": _link("open the report", page_url(manifest, "report.html")),
        "metrics": dg.MetadataValue.table(rows, schema=schema),
        "before and after": _picture(manifest, BEFORE_AFTER_PICTURE, "bits per character before and after"),
        **_answers(report),
    }


def _answers(report: Report) -> Metadata:
    if not report.answers:
        return {}
    records = [dg.TableRecord(answer.model_dump()) for answer in report.answers]
    return {"answers": dg.MetadataValue.table(records, _schema(question="string", checkpoint="string", base="string"))}


def describe_registration(folder: Path) -> Metadata:
    """Describe a registered model: its version in MLflow, its gates' verdicts, its card."""
    version = ModelVersion.model_validate_json((folder / MODEL_VERSION).read_text())
    verdicts = json.loads((folder / VERDICTS).read_text())
    page = f"{load_settings().mlflow_page}/#/models/{version.name}/versions/{version.version}"
    return {
        **_told(summarize_registration(version.name, version.version, version.alias, len(verdicts))),
        "model version": _link(f"open version {version.version} in MLflow", page),
        "verdicts": dg.MetadataValue.md("\n".join(f"- {_wrapped(verdict['sentence'], '  ')}" for verdict in verdicts)),
        "model card": dg.MetadataValue.md((folder / "model_card.md").read_text()),
        "load with": dg.MetadataValue.text(f'mlflow.transformers.load_model("{version.uri}")'),
    }


def _told(summary: Summary) -> Metadata:
    return {title: dg.MetadataValue.md(_wrapped(text)) for title, text in summary.items()}


def _wrapped(text: str, indent: str = "") -> str:
    # The page does not wrap what is wider than its margin: it cuts it.
    lines = textwrap.wrap(escape(text, quote=False), _WIDTH, break_long_words=False, break_on_hyphens=False)
    return f"  \n{indent}".join(lines)


def _link(title: str, url: str) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(f"[{title}]({url})")


def _counted(what: str, counts: Mapping[str, int], of: str = "documents") -> dg.TableMetadataValue:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    # The number first: a long name after it is cut by the page's margin, and takes nothing else along.
    records = [dg.TableRecord({of: count, what: name}) for name, count in ordered]
    return dg.MetadataValue.table(records, schema=_schema(**{of: "int", what: "string"}))


def _schema(**columns: str) -> dg.TableSchema:
    return dg.TableSchema(columns=[dg.TableColumn(name, kind) for name, kind in columns.items()])


def _of_each_format(path: Path, formats: Mapping[str, int]) -> list[Document]:
    """Return the first documents of the most frequent formats, the most frequent first."""
    most = [name for name, _ in Counter(formats).most_common(_FORMATS)]
    of_each = max(1, _SAMPLES // len(most))
    missing = Counter({name: min(of_each, formats[name]) for name in most})

    def is_wanted(labels: Mapping[str, Any]) -> bool:
        missing[labels["media_type"]] -= 1
        return missing[labels["media_type"]] >= 0

    found = sample(find_documents(path, is_wanted), missing.total())
    return sorted(found, key=lambda document: most.index(document.media_type))


def _excerpts(documents: Iterable[Document]) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md("\n\n".join(_excerpt(document) for document in documents))


def _excerpt(document: Document) -> str:
    text = document.text[:_SAMPLE_CHARACTERS].replace("```", "'''")
    where = standing(document)
    held = f" in {escape(where.holder)}" if where.holder else ""
    return f"**{escape(where.name)}**{held} ({document.media_type}, {document.licence})\n\n```text\n{text}\n```"


def _rejections(path: Path, manifest: Manifest) -> dg.TableMetadataValue:
    """Return a table of the rules by which something was rejected, an example of each, and how to see the others."""
    counts = manifest.counts["rejected_by_rule"]
    name = f"{manifest.name}/{manifest.kind}" if manifest.kind == SHARDS else manifest.name
    examples = _first_of_each(read_rejections(path), len(counts))
    records = [
        dg.TableRecord(
            {
                "rule": rule,
                "documents": counts[rule],
                "for example": f"{example.uri} {example.reason}",
                "all of them": f"forge documents {name} --rejected --rule {rule}",
            }
        )
        for rule, example in sorted(examples.items(), key=lambda item: (-counts[item[0]], item[0]))
    ]
    columns = {"rule": "string", "documents": "int", "for example": "string", "all of them": "string"}
    return dg.MetadataValue.table(records, schema=_schema(**columns))


def _first_of_each(rejections: Iterable[Rejection], num_rules: int) -> Mapping[str, Rejection]:
    """Return the first rejection by each rule; no more are read than that takes."""
    found: dict[str, Rejection] = {}
    rows = iter(rejections)
    while len(found) < num_rules:
        row = next(rows)
        found.setdefault(row.rule, row)
    return found


def _picture(manifest: Manifest, path: str, title: str) -> dg.MarkdownMetadataValue:
    # Dagster shows a text in its place only while it is short, and a picture within it would be long.
    return dg.MetadataValue.md(f"![{title}]({page_url(manifest, path)})")

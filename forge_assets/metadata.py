"""What a person sees of a materialization in the web UI: numbers, tables, samples, pictures and links."""

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import dagster as dg

from forge_pipelines.evaluation.stage import BEFORE_AFTER_PICTURE
from forge_pipelines.manifest import Document, Manifest
from forge_pipelines.store import Publication, Store
from forge_pipelines.tables import read_documents, read_rejections, sample
from forge_pipelines.training.stage import LOSS_PICTURE

Metadata = Mapping[str, Any]

_SAMPLES = 3
_SAMPLE_CHARACTERS = 600


def materialization(
    publication: Publication,
    store: Store,
    metadata: Metadata,
    checks: Sequence[dg.AssetCheckResult] = (),
) -> dg.MaterializeResult:
    """Report a publication to Dagster; the manifest's fingerprint is the asset's data version."""
    manifest = publication.manifest
    told = {**manifest.counts, **manifest.measured}
    numbers = {name: value for name, value in told.items() if isinstance(value, int | float | str)}
    return dg.MaterializeResult(
        data_version=dg.DataVersion(manifest.fingerprint),
        metadata={
            **numbers,
            **metadata,
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
    """Describe raw documents: formats, languages, what was rejected and why, samples."""
    return {
        "formats": _counted("format", manifest.counts["by_media_type"]),
        "languages": _counted("language", manifest.counts["by_language"]),
        "rejections": _counted("rule", manifest.counts["rejected_by_rule"]),
        "rejected_samples": _rejection_samples(folder / "rejections.parquet"),
        "samples": _document_samples(folder / "documents.parquet"),
    }


def describe_corpus(folder: Path, manifest: Manifest) -> Metadata:
    """Describe a corpus: what each source gave, what was rejected and why, samples, Data Docs."""
    return {
        "sources": _counted("source", manifest.counts["documents_by_source"], "documents"),
        "rejections": _counted("rule", manifest.counts["rejected_by_rule"]),
        "rejected_samples": _rejection_samples(folder / "rejections.parquet"),
        "samples": _document_samples(folder / "train.parquet"),
        "data_docs": dg.MetadataValue.url((folder / "data_docs" / "index.html").as_uri()),
    }


def describe_shards(manifest: Manifest) -> Metadata:
    """Describe shards: the trainable tokens that each source gave."""
    return {"sources": _counted("source", manifest.counts["trainable_tokens_by_source"], "trainable tokens")}


def describe_checkpoint(folder: Path) -> Metadata:
    """Describe a checkpoint: its loss curve as a picture and as numbers."""
    history = json.loads((folder / "history.json").read_text())
    shown = history[:: max(1, len(history) // 50)]
    return {
        "loss_curve": _picture((folder / LOSS_PICTURE).read_bytes(), "loss by step"),
        "loss_by_step": dg.MetadataValue.table(
            [dg.TableRecord({"step": row["step"], "loss": row["loss"]}) for row in shown],
            schema=_schema(step="int", loss="float"),
        ),
    }


def describe_report(folder: Path) -> Metadata:
    """Describe a report: each metric beside its base, the before/after picture, and where the page is."""
    report = json.loads((folder / "report.json").read_text())
    rows = [
        dg.TableRecord(
            {
                "metric": name,
                "checkpoint": metric["value"],
                "base": metric["base"],
                "difference": metric["difference"],
                "interval": "{:.3f} … {:.3f}".format(*metric["difference_interval"]),
            }
        )
        for name, metric in report["metrics"].items()
    ]
    schema = _schema(metric="string", checkpoint="float", base="float", difference="float", interval="string")
    return {
        "metrics": dg.MetadataValue.table(rows, schema=schema),
        "before_after": _picture((folder / BEFORE_AFTER_PICTURE).read_bytes(), "bits per character before and after"),
        "report": dg.MetadataValue.url((folder / "report.html").as_uri()),
    }


def describe_registration(folder: Path) -> Metadata:
    """Describe a registered model: its version in MLflow, its gates' verdicts, its card."""
    version = json.loads((folder / "model_version.json").read_text())
    verdicts = json.loads((folder / "verdicts.json").read_text())
    return {
        "model_version": dg.MetadataValue.text(f"{version['name']} version {version['version']} ({version['alias']})"),
        "load_with": dg.MetadataValue.text(f'mlflow.transformers.load_model("{version["uri"]}")'),
        "verdicts": dg.MetadataValue.md("\n".join(f"- {escape(verdict['sentence'])}" for verdict in verdicts)),
        "model_card": dg.MetadataValue.md((folder / "model_card.md").read_text()),
    }


def _counted(what: str, counts: Mapping[str, int], of: str = "documents") -> dg.TableMetadataValue:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    records = [dg.TableRecord({what: name, of: count}) for name, count in ordered]
    return dg.MetadataValue.table(records, schema=_schema(**{what: "string", of: "int"}))


def _schema(**columns: str) -> dg.TableSchema:
    return dg.TableSchema(columns=[dg.TableColumn(name, kind) for name, kind in columns.items()])


def _document_samples(path: Path) -> dg.MarkdownMetadataValue:
    documents = sample(read_documents(path), _SAMPLES)
    return dg.MetadataValue.md("\n\n".join(_excerpt(document) for document in documents))


def _excerpt(document: Document) -> str:
    text = document.text[:_SAMPLE_CHARACTERS].replace("```", "'''")
    return f"**{escape(document.uri)}** ({document.media_type}, {document.licence})\n\n```text\n{text}\n```"


def _rejection_samples(path: Path) -> dg.TableMetadataValue:
    rejections = sample(read_rejections(path), 10)
    records = [dg.TableRecord({"rule": row.rule, "document": row.uri, "reason": row.reason}) for row in rejections]
    return dg.MetadataValue.table(records, schema=_schema(rule="string", document="string", reason="string"))


def _picture(png: bytes, title: str) -> dg.MarkdownMetadataValue:
    encoded = base64.b64encode(png).decode()
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{encoded})")

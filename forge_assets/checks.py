"""The asset checks: the same verdicts as the code path's guards, shown where people look."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from forge_pipelines.evaluation.reading import read_report
from forge_pipelines.manifest import Manifest
from forge_pipelines.registry.gates import judge, parse_gate
from forge_pipelines.training.weights import find_unreadable


def expectation_checks(folder: Path) -> list[dg.AssetCheckResult]:
    """Show the results of Great Expectations: those that block, and those that warn."""
    results = json.loads((folder / "expectations.json").read_text())
    return [
        _of_severity("expectations", dg.AssetCheckSeverity.ERROR, [r for r in results if r["severity"] == "error"]),
        _of_severity("warnings", dg.AssetCheckSeverity.WARN, [r for r in results if r["severity"] == "warning"]),
    ]


def _of_severity(
    name: str, severity: dg.AssetCheckSeverity, results: Sequence[dict[str, object]]
) -> dg.AssetCheckResult:
    failed = [result for result in results if not result["success"]]
    names = ", ".join(str(result["expectation"]) for result in failed)
    return dg.AssetCheckResult(
        check_name=name,
        passed=not failed,
        severity=severity,
        description="; ".join(str(result["message"]) for result in failed) or None,
        metadata={"expectations": len(results), "failed": names or "none"},
    )


def shard_checks(manifest: Manifest, optional_sources: Sequence[str]) -> list[dg.AssetCheckResult]:
    """Show that every source contributes trainable tokens."""
    labels = manifest.counts["trainable_tokens_by_source"]
    empty = [source for source, count in labels.items() if not count and source not in optional_sources]
    return [dg.AssetCheckResult(check_name="trainable_tokens", passed=not empty, metadata=dict(labels))]


def checkpoint_checks(folder: Path) -> list[dg.AssetCheckResult]:
    """Show that the loss stayed finite and that every tensor of the weights can be read."""
    history = json.loads((folder / "history.json").read_text())
    infinite = [row["step"] for row in history if not math.isfinite(row["loss"])]
    unreadable = find_unreadable(folder)
    return [
        dg.AssetCheckResult(check_name="finite_loss", passed=not infinite, metadata={"steps": len(history)}),
        dg.AssetCheckResult(
            check_name="weights_load", passed=not unreadable, metadata={"unreadable": ", ".join(unreadable) or "none"}
        ),
    ]


def report_checks(folder: Path, gates: Sequence[str]) -> list[dg.AssetCheckResult]:
    """Show that every score is finite, and what the gates will say at registration."""
    report = read_report(folder)
    infinite = [name for name, metric in report.metrics.items() if not math.isfinite(metric.value)]
    verdicts = judge([parse_gate(gate) for gate in gates], report)
    return [
        dg.AssetCheckResult(check_name="finite_scores", passed=not infinite, metadata={"documents": report.documents}),
        dg.AssetCheckResult(
            check_name="gates",
            passed=all(verdict.passed for verdict in verdicts),
            metadata={"verdicts": dg.MetadataValue.md("\n".join(f"- {verdict.sentence}" for verdict in verdicts))},
        ),
    ]

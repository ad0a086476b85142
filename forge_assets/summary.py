"""The first lines of an asset's page: what came in, was made and was thrown away, how good it is, what next."""

from collections.abc import Mapping
from typing import Any

from forge_pipelines.evaluation.report import Report
from forge_pipelines.manifest import Manifest

Summary = Mapping[str, str]

_ROWS = {
    "texts": "sequences of",
    "chats": "sequences of",
    "preferences": "pairs of answers, with their prompts of at most",
}


def summarize_documents(manifest: Manifest) -> Summary:
    """Sum up raw documents."""
    counts = manifest.counts
    skipped = _listed({"hidden files": counts["skipped_hidden"], "links": counts["skipped_links"]})
    others = counts["from_other_files"]
    came_out = f"; {_several(others, 'document')} came out of them as members, attachments or records" if others else ""
    kinds = f" ({_listed(counts['by_kind'])})" if set(counts["by_kind"]) != {"text"} else ""
    return {
        "came in": f"{_several(counts['files'], 'file')}, {_size(counts['bytes'])}{came_out}",
        "made": f"{_several(counts['documents'], 'document')}{kinds}, {counts['characters']:,} characters",
        "thrown away": _rejected(counts) + (f"; not looked at: {skipped}" if skipped else ""),
        "next": f"Look inside: forge documents {manifest.name}. If too much was rejected, mend the files or the YAML; "
        "else make its corpora.",
    }


def summarize_corpus(manifest: Manifest) -> Summary:
    """Sum up a corpus."""
    counts = manifest.counts
    warnings = _several(counts["warnings"], "warning")
    sources = _listed(counts["documents_by_source"])
    return {
        "came in": f"{counts['documents'] + counts['rejected']:,} documents",
        "made": f"{counts['train']:,} documents to train on, {counts['heldout']:,} held out (from {sources})",
        "thrown away": _rejected(counts),
        "replaced": _listed(counts["redactions_by_kind"]) or "nothing",
        "how good": f"every blocking expectation holds, {warnings}; Data Docs show each",
        "next": "Read some samples and rejections; change length or expectations in its YAML, or train a model.",
    }


def summarize_shards(manifest: Manifest) -> Summary:
    """Sum up shards."""
    counts = manifest.counts
    sources = _several(len(counts["trainable_tokens_by_source"]), "source")
    rows = _ROWS[manifest.parameters["examples"]]
    answers = _several(counts["answers_left_out"], "answer")
    left_out = f"; {answers} of chats, which the base's template changes" if counts["answers_left_out"] else ""
    return {
        "came in": f"{counts['documents'] + counts['rejected']:,} documents of {sources}",
        "made": f"{counts['sequences']:,} {rows} {counts['sequence_length']:,} tokens, "
        f"{counts['trainable_tokens']:,} tokens to learn from",
        "thrown away": _rejected(counts) + left_out,
        "how good": "every source contributes: " + _listed(counts["trainable_tokens_by_source"]),
        "next": "Train; if a source weighs too little or too much, change its corpus's weight in the model's YAML.",
    }


def summarize_checkpoint(manifest: Manifest, first_loss: float) -> Summary:
    """Sum up a checkpoint. first_loss is that of the first step, in nats."""
    counts, measured = manifest.counts, manifest.measured
    return {
        "came in": f"{counts['tokens_trained']:,} tokens, in {counts['steps']:,} steps",
        "made": f"a network of {counts['parameters']:,} parameters, "
        f"at {measured['tokens_per_second']:,.0f} tokens a second on {measured['world_size']} × {measured['device']}",
        "how good": f"training loss {first_loss:.3f} → {counts['final_loss']:.3f}; held-out documents say more",
        "next": "Evaluate it. Where the loss still falls at the end, more steps in the model's YAML will help.",
    }


def summarize_report(report: Report) -> Summary:
    """Sum up a report."""
    base = report.adapted_from or "the network before training"
    general = f" and {report.general_documents:,} general ones" if report.general_documents else ""
    better = "; ".join(
        f"{name} {metric.value:.3f} ({base}: {metric.base:.3f})" for name, metric in report.metrics.items()
    )
    return {
        "came in": f"{report.documents:,} held-out documents{general}, {report.characters:,} characters",
        "made": f"{_several(len(report.metrics), 'metric')} of the checkpoint and of {base}"
        + (f", answers to {_several(len(report.answers), 'question')}" if report.answers else ""),
        "how good": better,
        "next": "Read the report: its worst documents show what is missing. The check gates says if it registers.",
    }


def summarize_registration(name: str, version: int, alias: str, gates: int) -> Summary:
    """Sum up a registered model."""
    return {
        "came in": f"a report that passes {_several(gates, 'gate')}" if gates else "a report; no gates were set",
        "made": f"{name} version {version}, which {alias} points at now",
        "next": f"Talk to it: forge chat {name}; serve it to applications: forge serve {name}@{alias}.",
    }


def _rejected(counts: Mapping[str, Any]) -> str:
    if not counts["rejected"]:
        return "nothing"
    return f"{counts['rejected']:,} documents, by rule: {_listed(counts['rejected_by_rule'])}"


def _several(count: int, noun: str) -> str:
    return f"{f'{count:,}' if count else 'no'} {noun}{'' if count == 1 else 's'}"


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.1f} MB" if num_bytes >= 1e5 else f"{num_bytes / 1e3:,.1f} kB"


def _listed(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {count:,}" for name, count in ordered if count)

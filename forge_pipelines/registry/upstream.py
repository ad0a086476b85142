"""What a report was made from: the manifests upstream of it, found in the store by their fingerprints."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forge_pipelines.bases.stage import base_of
from forge_pipelines.corpus.reading import source_fingerprints
from forge_pipelines.manifest import Classification, Manifest
from forge_pipelines.store import Store

_CORPUS, _GENERAL = "corpus:", "general:"


@dataclass(frozen=True, slots=True)
class Upstream:
    """All that a model version was made from.

    Attributes:
        heldout: the corpora whose held-out documents the report is about.
        general: the corpora that the report measures forgetting on.
        base: the open model that was adapted, or None where training began from nothing.
    """

    report: Manifest
    checkpoint: Manifest
    shards: Manifest
    corpora: tuple[Manifest, ...]
    sources: tuple[Manifest, ...]
    heldout: tuple[Manifest, ...]
    general: tuple[Manifest, ...]
    base: Manifest | None

    @property
    def classification(self) -> Classification:
        """The strictest label of all."""
        return Classification.strictest(manifest.classification for manifest in self._all)

    def fingerprints(self) -> Mapping[str, str]:
        """Return every fingerprint upstream by role, such as ``checkpoint`` or ``source.handbook``."""
        return {
            "report": self.report.fingerprint,
            "checkpoint": self.checkpoint.fingerprint,
            "shards": self.shards.fingerprint,
            **{f"corpus.{manifest.name}": manifest.fingerprint for manifest in self.corpora},
            **{f"source.{manifest.name}": manifest.fingerprint for manifest in self.sources},
            **{f"heldout.{manifest.name}": manifest.fingerprint for manifest in self.heldout},
            **{f"general.{manifest.name}": manifest.fingerprint for manifest in self.general},
            **({f"base.{self.base.name}": self.base.fingerprint} if self.base else {}),
        }

    def labels(self, source: Manifest) -> Mapping[str, Any]:
        """Return the labels that a source declares for all its documents."""
        labels: Mapping[str, Any] = source.parameters["labels"]
        return labels

    @property
    def _all(self) -> tuple[Manifest, ...]:
        measured_on = (*self.heldout, *self.general)
        bases = (self.base,) if self.base else ()
        return (self.report, self.checkpoint, self.shards, *self.corpora, *self.sources, *measured_on, *bases)


def trace_upstream(store: Store, report: Manifest) -> Upstream:
    """Find everything that a report was made from.

    Raises:
        DataError: something upstream is not in the store.
    """
    checkpoint = store.published(report.name, "trained_checkpoint", report.inputs["checkpoint"])
    shards = store.published(report.name, "tokenized_shards", checkpoint.inputs["shards"])
    corpora = _corpora(store, shards, _CORPUS)
    sources = {
        name: store.published(name, "raw_documents", fingerprint)
        for corpus in corpora
        for name, fingerprint in source_fingerprints(corpus).items()
    }
    return Upstream(
        report=report,
        checkpoint=checkpoint,
        shards=shards,
        corpora=corpora,
        sources=tuple(sources.values()),
        heldout=_corpora(store, report, _CORPUS),
        general=_corpora(store, report, _GENERAL),
        base=base_of(checkpoint, store),
    )


def _corpora(store: Store, made: Manifest, role: str) -> tuple[Manifest, ...]:
    return tuple(
        store.published(named.removeprefix(role), "validated_corpus", fingerprint)
        for named, fingerprint in made.inputs.items()
        if named.startswith(role)
    )

"""What a report was made from: the manifests upstream of it, found in the store by their fingerprints."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forge_pipelines.errors import DataError
from forge_pipelines.manifest import Classification, Manifest
from forge_pipelines.store import Store

_CORPUS = "corpus:"


@dataclass(frozen=True, slots=True)
class Upstream:
    """All that a model version was made from.

    Attributes:
        heldout: the corpora whose held-out documents the report is about.
    """

    report: Manifest
    checkpoint: Manifest
    shards: Manifest
    corpora: tuple[Manifest, ...]
    sources: tuple[Manifest, ...]
    heldout: tuple[Manifest, ...]

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
        }

    def labels(self, source: Manifest) -> Mapping[str, Any]:
        """Return the labels that a source declares for all its documents."""
        labels: Mapping[str, Any] = source.parameters["labels"]
        return labels

    @property
    def _all(self) -> tuple[Manifest, ...]:
        return (self.report, self.checkpoint, self.shards, *self.corpora, *self.sources, *self.heldout)


def trace_upstream(store: Store, report: Manifest) -> Upstream:
    """Find everything that a report was made from.

    Raises:
        DataError: something upstream is not in the store.
    """
    checkpoint = _find(store, report.name, "trained_checkpoint", report.inputs["checkpoint"], report)
    shards = _find(store, report.name, "tokenized_shards", checkpoint.inputs["shards"], checkpoint)
    corpora = _corpora(store, shards)
    sources = {
        name: _find(store, name, "raw_documents", fingerprint, corpus)
        for corpus in corpora
        for name, fingerprint in corpus.inputs.items()
    }
    return Upstream(report, checkpoint, shards, corpora, tuple(sources.values()), heldout=_corpora(store, report))


def _corpora(store: Store, made: Manifest) -> tuple[Manifest, ...]:
    return tuple(
        _find(store, role.removeprefix(_CORPUS), "validated_corpus", fingerprint, made)
        for role, fingerprint in made.inputs.items()
        if role.startswith(_CORPUS)
    )


def _find(store: Store, name: str, kind: str, fingerprint: str, made: Manifest) -> Manifest:
    for manifest in store.manifests(name, kind):
        if manifest.fingerprint == fingerprint:
            return manifest
    message = (
        f"{name}/{kind} {fingerprint[:12]}, which {made.name}/{made.kind} was made from, is not in {store.address}; "
        f"restore it from backup or make {made.name}/{made.kind} anew"
    )
    raise DataError(message)

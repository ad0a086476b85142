"""What became of a corpus's documents, in numbers and examples; and the sentences for when it keeps too few."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from forge_pipelines.columns import characters_of
from forge_pipelines.corpus.config import Contributions, SourceBounds
from forge_pipelines.corpus.duplicates import RULE as DUPLICATE
from forge_pipelines.corpus.findings import Finding
from forge_pipelines.corpus.split import Part
from forge_pipelines.errors import DataError
from forge_pipelines.manifest import Rejection

_SAMPLES = 10


class Tally:
    """Counts what passes; knows ten of each rule's rejections in each source."""

    def __init__(self, corpus: str, sources: Sequence[str]) -> None:
        self._corpus = corpus
        self._documents = Counter(dict.fromkeys(sources, 0))
        self._characters = Counter(dict.fromkeys(sources, 0))
        self._read = Counter(dict.fromkeys(sources, 0))
        self._characters_read = Counter(dict.fromkeys(sources, 0))
        self._parts = Counter({"train": 0, "heldout": 0})
        self._languages: Counter[str] = Counter()
        self._redactions: Counter[tuple[str, str]] = Counter()
        self._rejected: Counter[tuple[str, str]] = Counter()
        self._samples: dict[tuple[str, str], list[Rejection]] = {}

    def read(self, source: str, num_documents: int, num_characters: int) -> None:
        """Count what came in from a source."""
        self._read[source] += num_documents
        self._characters_read[source] += num_characters

    def redact(self, source: str, redactions: Mapping[str, int]) -> None:
        """Count what was replaced in a document of a source, by what it was."""
        for kind, count in redactions.items():
            self._redactions[source, kind] += count

    def keep(self, documents: pa.Table, part: Part) -> None:
        """Count documents of a part of the corpus, `DOCUMENT_SCHEMA` of `columns`."""
        sources, lengths = documents.column("source").to_pylist(), characters_of(documents).tolist()
        self._documents.update(sources)
        for source, length in zip(sources, lengths, strict=True):
            self._characters[source] += length
        self._parts[part] += len(documents)
        self._languages.update(language or "unknown" for language in documents.column("language").to_pylist())

    def reject(self, rejection: Rejection) -> None:
        """Count a rejected document."""
        where = (rejection.source, rejection.rule)
        self._rejected[where] += 1
        samples = self._samples.setdefault(where, [])
        if len(samples) < _SAMPLES:
            samples.append(rejection)

    def counts(self) -> Mapping[str, Any]:
        """Return the numbers of the manifest."""
        by_rule: Counter[str] = Counter()
        for (_, rule), count in self._rejected.items():
            by_rule[rule] += count
        by_kind: Counter[str] = Counter()
        for (_, kind), count in self._redactions.items():
            by_kind[kind] += count
        return {
            "documents": self._documents.total(),
            "train": self._parts["train"],
            "heldout": self._parts["heldout"],
            "characters": self._characters.total(),
            "documents_by_source": dict(self._documents),
            "characters_by_source": dict(self._characters),
            "by_language": dict(sorted(self._languages.items())),
            "rejected": by_rule.total(),
            "rejected_by_rule": dict(sorted(by_rule.items())),
            "duplicates": by_rule[DUPLICATE],
            "redactions": by_kind.total(),
            "redactions_by_kind": dict(sorted(by_kind.items())),
        }

    def by_source(self) -> Mapping[str, Mapping[str, Any]]:
        """Return for each source what came in, what is kept, what was rejected by which rule, and what was replaced."""
        return {
            source: {
                "documents_read": self._read[source],
                "characters_read": self._characters_read[source],
                "documents": self._documents[source],
                "characters": self._characters[source],
                "rejected": {rule: count for (name, rule), count in sorted(self._rejected.items()) if name == source},
                "redactions": {
                    kind: count for (name, kind), count in sorted(self._redactions.items()) if name == source
                },
            }
            for source in self._documents
        }

    def samples(self) -> Mapping[tuple[str, str], Sequence[Rejection]]:
        """Return up to ten rejections of each source and rule."""
        return self._samples

    def require_enough(self, bounds: Contributions) -> None:
        """Make sure that every source contributes, and that there is something to train and to measure on.

        Raises:
            DataError: otherwise, with what was rejected by which rule.
        """
        kept = self._documents.total()
        if kept == 0:
            raise DataError(f"corpus {self._corpus} keeps no document: {self._losses(list(self._documents))}")
        for source, count in self._documents.items():
            if count == 0:
                raise DataError(
                    f"source {source} contributes nothing to corpus {self._corpus}: {self._losses([source])}"
                )
            self._require(source, bounds.of(source))
        for part in ("train", "heldout"):
            if self._parts[part] == 0:
                message = (
                    f"corpus {self._corpus} has no {part} document: all {kept} that it keeps fell to the other part "
                    "of the split; give it more documents or another split.heldout_fraction"
                )
                raise DataError(message)

    def _require(self, source: str, bounds: SourceBounds) -> None:
        if self._documents[source] < bounds.min_documents:
            raise DataError(self._too_few(source, f"contributions.min_documents ({bounds.min_documents})"))
        if self._share(source) < bounds.min_share:
            raise DataError(self._too_few(source, f"contributions.min_share ({_percent(bounds.min_share)})"))

    def thin_sources(self, bounds: Contributions) -> list[Finding]:
        """Return a warning for each source of which nearly everything was rejected."""
        return [
            Finding(
                type="contributions",
                column=source,
                kwargs={"warn_below": bounds.of(source).warn_below},
                severity="warning",
                success=False,
                observed=round(self._share(source), 4),
                rows=self._read[source],
                unexpected=self._read[source] - count,
                examples=(),
                words=self._too_few(source, f"contributions.warn_below ({_percent(bounds.of(source).warn_below)})"),
            )
            for source, count in self._documents.items()
            if self._share(source) < bounds.of(source).warn_below
        ]

    def _share(self, source: str) -> float:
        return self._documents[source] / max(self._read[source], 1)

    def _too_few(self, source: str, bound: str) -> str:
        kept = f"{self._documents[source]} of {self._read[source]} documents ({_percent(self._share(source))})"
        return f"source {source} keeps {kept} in corpus {self._corpus}, less than {bound}: {self._losses([source])}"

    def _losses(self, sources: Sequence[str]) -> str:
        losses = [
            f"rule {rule} rejected {count} of {source}, for example {example.uri} ({example.reason})"
            for (source, rule), count in sorted(self._rejected.items())
            for example in self._samples[source, rule][:1]
            if source in sources
        ]
        if not losses:
            return f"no document came from {', '.join(sources)}; look at what was read there"
        return f"{'; '.join(losses)}; mend the documents or the corpus's rules"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"

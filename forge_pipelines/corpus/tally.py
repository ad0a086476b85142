"""How many documents a corpus keeps and rejects, and the sentences for when it keeps too few."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from forge_pipelines.corpus.duplicates import RULE as DUPLICATE
from forge_pipelines.corpus.split import Part
from forge_pipelines.errors import DataError
from forge_pipelines.manifest import Document, Rejection


class Tally:
    """Counts what passes; knows one example of each rule's rejections in each source."""

    def __init__(self, corpus: str, sources: Sequence[str]) -> None:
        self._corpus = corpus
        self._documents = Counter(dict.fromkeys(sources, 0))
        self._characters = Counter(dict.fromkeys(sources, 0))
        self._parts = Counter({"train": 0, "heldout": 0})
        self._rejected: Counter[tuple[str, str]] = Counter()
        self._examples: dict[tuple[str, str], Rejection] = {}

    def keep(self, document: Document, part: Part) -> None:
        """Count a document of the corpus."""
        self._documents[document.source] += 1
        self._characters[document.source] += len(document.text)
        self._parts[part] += 1

    def reject(self, rejection: Rejection) -> None:
        """Count a rejected document."""
        where = (rejection.source, rejection.rule)
        self._rejected[where] += 1
        self._examples.setdefault(where, rejection)

    def counts(self) -> Mapping[str, Any]:
        """Return the numbers of the manifest."""
        by_rule: Counter[str] = Counter()
        for (_, rule), count in self._rejected.items():
            by_rule[rule] += count
        return {
            "documents": self._documents.total(),
            "train": self._parts["train"],
            "heldout": self._parts["heldout"],
            "characters": self._characters.total(),
            "documents_by_source": dict(self._documents),
            "characters_by_source": dict(self._characters),
            "rejected": by_rule.total(),
            "rejected_by_rule": dict(sorted(by_rule.items())),
            "duplicates": by_rule[DUPLICATE],
        }

    def require_enough(self) -> None:
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
        for part in ("train", "heldout"):
            if self._parts[part] == 0:
                message = (
                    f"corpus {self._corpus} has no {part} document: all {kept} that it keeps fell to the other part "
                    "of the split; give it more documents or another split.heldout_fraction"
                )
                raise DataError(message)

    def _losses(self, sources: Sequence[str]) -> str:
        losses = [
            f"rule {rule} rejected {count} of {source}, for example {example.uri} ({example.reason})"
            for (source, rule), count in sorted(self._rejected.items())
            for example in [self._examples[source, rule]]
            if source in sources
        ]
        if not losses:
            return f"no document came from {', '.join(sources)}; look at what was read there"
        return f"{'; '.join(losses)}; mend the documents or the corpus's rules"

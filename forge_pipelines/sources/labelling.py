"""Which labels a document carries: its source's, and those of its path in their place."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from forge_pipelines.manifest import Classification
from forge_pipelines.sources.config import Labels
from forge_pipelines.sources.place import ItemError
from forge_pipelines.sources.places.globs import compile_globs

_FIELDS = ("licence", "classification", "owner", "purpose", "retain_days")


@dataclass(frozen=True, slots=True)
class Labelled:
    """The labels of one document; times are ISO 8601 in UTC."""

    licence: str | None
    classification: Classification | None
    owner: str | None
    purpose: str | None
    retain_days: int | None

    def require(self) -> tuple[str, Classification]:
        """Return licence and classification.

        Raises:
            ItemError: one of them is missing.
        """
        if self.licence is None or self.classification is None:
            what = "licence" if self.licence is None else "classification"
            raise ItemError("unlabelled", f"has no {what}; write one in `labels`, or in `labels.overrides`")
        return self.licence, self.classification

    def expires_at(self, modified_at: str | None) -> str | None:
        """Return when the document must no longer be used.

        Raises:
            ItemError: that counts from a last change of which nothing is known.
        """
        if self.retain_days is None:
            return None
        if modified_at is None:
            raise ItemError("unlabelled", "tells no time of a last change, from which `retain_days` would count")
        return (datetime.fromisoformat(modified_at) + timedelta(days=self.retain_days)).isoformat(timespec="seconds")


class Labelling:
    """The labels of a source, asked by path. A file's members carry the labels of the file."""

    def __init__(self, labels: Labels) -> None:
        self._own = Labelled(*(getattr(labels, name) for name in _FIELDS))
        self._overrides = [
            (
                compile_globs(each.paths),
                {name: getattr(each, name) for name in _FIELDS if getattr(each, name) is not None},
            )
            for each in labels.overrides
        ]

    def of(self, path: str) -> Labelled:
        """Return the labels of the file at a path: where several overrides say one, the last holds."""
        labelled = self._own
        for paths, said in self._overrides:
            if paths.fullmatch(path):
                labelled = replace(labelled, **said)
        return labelled

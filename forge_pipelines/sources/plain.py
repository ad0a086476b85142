"""Files that are one text each become documents many at once, without an object for each: that is most of a source."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from forge_pipelines.columns import DOCUMENT_SCHEMA, column_of
from forge_pipelines.manifest import sha256_text
from forge_pipelines.sources.identity import Found, document_id
from forge_pipelines.sources.labelling import Labelled, Labelling
from forge_pipelines.sources.place import ItemError
from forge_pipelines.sources.readings import Place, Readings

_MOST_FILES = 512
_MOST_BYTES = 16 << 20
_MOST_HELD_BYTES = 128 << 20
"""Of the chunks of readings that their texts stand in: each is held whole until they are taken."""


@dataclass(slots=True)
class PlainFiles:
    """Gathers files of which each is one text, one behind the other, until they are taken as documents.

    Attributes:
        source: the source's name.
        labelling: its labels.
        readings: what its files became.
    """

    source: str
    labelling: Labelling
    readings: Readings
    _files: list[Found] = field(default_factory=list)
    _labels: list[tuple[Labelled, str | None]] = field(default_factory=list)
    _places: list[Place] = field(default_factory=list)
    _num_bytes: int = 0
    _held: dict[int, int] = field(default_factory=dict)

    def add(self, found: Found) -> bool:
        """Take a file; False, and it is not taken, if it is not one text, or lacks a label.

        Raises:
            ForgottenError: a reading is known no more.
        """
        if found.refusal is not None or (place := self.readings.place_of_text(found.sha256)) is None:
            return False
        labelled = self.labelling.of(found.path)
        try:
            labelled.require()
            self._labels.append((labelled, labelled.expires_at(found.modified_at)))
        except ItemError:
            return False
        self._files.append(found)
        self._places.append(place)
        self._num_bytes += found.num_bytes
        if id(place.rows) not in self._held:
            self._held[id(place.rows)] = place.rows.nbytes
        return True

    @property
    def is_full(self) -> bool:
        """Whether they are to be taken before there are more."""
        is_much = self._num_bytes >= _MOST_BYTES or sum(self._held.values()) >= _MOST_HELD_BYTES
        return is_much or len(self._files) >= _MOST_FILES

    def take(self) -> pa.Table:
        """Return the documents of the files so far, `DOCUMENT_SCHEMA` of `columns`, and forget the files."""
        read = pa.concat_tables([_READ.empty_table(), *_spans(self._places)])
        texts = pa.chunked_array([each.flatten().field("text") for each in read.column("segments").chunks]).to_pylist()
        paths = [each.path for each in self._files]
        columns: dict[str, list[Any]] = {
            "doc_id": [document_id(self.source, path, text) for path, text in zip(paths, texts, strict=True)],
            "text_sha256": [*map(sha256_text, texts)],
            "kind": ["text"] * len(texts),
            "source": [self.source] * len(texts),
            "uri": paths,
            "raw_sha256": [each.sha256 for each in self._files],
            "licence": [labels.licence for labels, _ in self._labels],
            "classification": [labels.require()[1].value for labels, _ in self._labels],
            "owner": [labels.owner for labels, _ in self._labels],
            "purpose": [labels.purpose for labels, _ in self._labels],
            "retrieved_at": [each.modified_at for each in self._files],
            "expires_at": [expires_at for _, expires_at in self._labels],
        }
        none: list[Any] = [None] * len(texts)
        documents = [
            read.column(name) if name in _READ.names else column_of(columns.get(name, none), pa.string())
            for name in DOCUMENT_SCHEMA.names
        ]
        self._files, self._labels, self._places, self._num_bytes, self._held = [], [], [], 0, {}
        return pa.Table.from_arrays(documents, schema=DOCUMENT_SCHEMA)


_READ = pa.schema([DOCUMENT_SCHEMA.field(name) for name in ("segments", "media_type", "language")])


def _spans(places: Sequence[Place]) -> list[pa.Table]:
    """Return the rows at places of chunks, those that stand one behind the other together."""
    starts = [number for number, place in enumerate(places) if not (number and place.follows(places[number - 1]))]
    ends = [*starts[1:], len(places)][: len(starts)]
    return [
        places[start].rows.select(_READ.names).slice(places[start].row, end - start)
        for start, end in zip(starts, ends, strict=True)
    ]

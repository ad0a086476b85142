"""What a source's YAML may say."""

from typing import Self

from pydantic import Field, field_validator, model_validator

from forge_pipelines.manifest import Classification, Licence, Name, Value
from forge_pipelines.sources.places.config import (
    FolderPlace,
    MailboxPlace,
    ObjectStorePlace,
    RecordColumns,
    RecordsPlace,
    SqlPlace,
)
from forge_pipelines.sources.places.globs import compile_globs
from forge_pipelines.sources.readers.reading import ReadingOptions

_PLACES = ("folder", "object_store", "sql", "records", "mailbox")


class LabelsOfPaths(Value):
    """Labels of some of a source's documents, in place of the source's own."""

    paths: tuple[str, ...] = Field(min_length=1, description="Glob patterns of the documents' paths.")
    licence: Licence | None = Field(None, description="SPDX licence expression.")
    classification: Classification | None = Field(None, description="public, internal, confidential or restricted.")
    owner: str | None = Field(None, description="Who answers for them.")
    purpose: str | None = Field(None, description="What they may be used for.")
    retain_days: int | None = Field(None, ge=1, description="Days after their last change that they may be used.")

    @field_validator("paths")
    @classmethod
    def _patterns_mean_something(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        compile_globs(patterns)
        return patterns


class Labels(Value):
    """What the source's documents are labelled with. A document without licence or classification is rejected."""

    licence: Licence | None = Field(None, description="SPDX licence expression, for example `Apache-2.0`.")
    classification: Classification | None = Field(None, description="public, internal, confidential or restricted.")
    owner: str | None = Field(None, description="Who answers for the documents: a person or a team.")
    purpose: str | None = Field(None, description="What the documents may be used for.")
    retain_days: int | None = Field(None, ge=1, description="Days after their last change that they may be used.")
    overrides: tuple[LabelsOfPaths, ...] = Field(
        (), description="Labels of some paths; where several say the same label, the last one holds."
    )

    @model_validator(mode="after")
    def _labels_something(self) -> Self:
        for label in ("licence", "classification"):
            if getattr(self, label) is None and all(getattr(each, label) is None for each in self.overrides):
                raise ValueError(f"no document has a {label}: write `labels.{label}`, or one in `labels.overrides`")
        return self


class ReadingLimits(Value):
    """What reading one file may cost. A file that costs more is rejected, and the others are read."""

    seconds: float = Field(60.0, gt=0, le=86_400, description="Time for one file, or for one member of an archive.")
    memory_bytes: int = Field(2 << 30, ge=256 << 20, description="Memory of the process that reads it, in bytes.")
    max_text_characters: int = Field(50_000_000, gt=0, description="Longer texts are rejected, in characters.")
    ocr: tuple[str, ...] = Field(
        (),
        description="A command that reads a picture (PNG) from standard input and writes its text to standard output, "
        "for example `[tesseract, stdin, stdout, -l, eng]`. Default: pages without text are rejections.",
    )


class SourceConfig(Value):
    """A place that documents come from, and what is known of them all."""

    name: Name = Field(description="The source's name; its asset is `<name>/raw_documents`.")
    description: str = Field("", description="One sentence for the web UI.")
    folder: FolderPlace | None = Field(None, description="The folder that holds the documents.")
    object_store: ObjectStorePlace | None = Field(None, description="The object store that holds the documents.")
    sql: SqlPlace | None = Field(None, description="The database that holds the documents.")
    records: RecordsPlace | None = Field(None, description="The data sets whose records are the documents.")
    mailbox: MailboxPlace | None = Field(None, description="The mail that is read.")
    labels: Labels = Field(description="Labels of the documents.")
    max_file_bytes: int = Field(
        64 << 20, gt=0, description="Larger files are rejected, in bytes; those of `records` may be of any size."
    )
    reading: ReadingLimits = Field(default_factory=ReadingLimits, description="What reading one file may cost.")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        given = [place for place in _PLACES if getattr(self, place) is not None]
        if len(given) != 1:
            said = f"{' and '.join(given)} are given" if given else "none is given"
            raise ValueError(f"a source has one place, one of {', '.join(_PLACES)}; {said}")
        if self.retains_by_age and self.sql is not None and self.sql.updated_at is None:
            raise ValueError("`retain_days` counts from a row's last change: name its column as `sql.updated_at`")
        return self

    @property
    def retains_by_age(self) -> bool:
        """Whether documents expire some time after their last change."""
        days = [self.labels.retain_days, *(labels.retain_days for labels in self.labels.overrides)]
        return any(each is not None for each in days)

    @property
    def reading_options(self) -> ReadingOptions:
        """How the source's files are read: with the file's bytes, what shapes the documents that come of it."""
        return ReadingOptions(
            ocr=self.reading.ocr,
            max_text_characters=self.reading.max_text_characters,
            record_kind=None if self.records is None else self.records.kind,
            record_columns=RecordColumns() if self.records is None else self.records.columns,
        )

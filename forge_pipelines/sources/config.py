"""What a source's YAML may say."""

from pydantic import Field, field_validator

from forge_pipelines.manifest import Classification, Name, Value
from forge_pipelines.sources.globs import compile_globs


class FolderPlace(Value):
    """Documents in a folder of this machine."""

    path: str = Field(
        min_length=1, description="The folder. Relative paths start at the folder in which Forge was started."
    )
    include: tuple[str, ...] = Field(
        ("**/*",), min_length=1, description="Glob patterns of the files to read, relative to `path`."
    )
    exclude: tuple[str, ...] = Field((), description="Glob patterns of files to leave out.")

    @field_validator("include", "exclude")
    @classmethod
    def _patterns_mean_something(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        compile_globs(patterns)
        return patterns


class Labels(Value):
    """What every document of the source is labelled with. Nothing unlabelled passes."""

    licence: str = Field(min_length=1, description="SPDX licence expression, for example `Apache-2.0`.")
    classification: Classification = Field(description="public, internal, confidential or restricted.")
    owner: str | None = Field(None, description="Who answers for the documents: a person or a team.")
    purpose: str | None = Field(None, description="What the documents may be used for.")


class ReadingLimits(Value):
    """What reading one file may cost. A file that costs more is rejected, and the others are read."""

    seconds: float = Field(60.0, gt=0, le=86_400, description="Time for one file.")
    memory_bytes: int = Field(2 << 30, ge=256 << 20, description="Memory of the process that reads it, in bytes.")
    max_text_characters: int = Field(50_000_000, gt=0, description="Longer texts are rejected, in characters.")


class SourceConfig(Value):
    """A place that documents come from, and what is known of them all."""

    name: Name = Field(description="The source's name; its asset is `<name>/raw_documents`.")
    description: str = Field("", description="One sentence for the web UI.")
    folder: FolderPlace = Field(description="The folder that holds the documents.")
    labels: Labels = Field(description="Labels of every document.")
    max_file_bytes: int = Field(64 << 20, gt=0, description="Larger files are rejected, in bytes.")
    reading: ReadingLimits = Field(default_factory=ReadingLimits, description="What reading one file may cost.")

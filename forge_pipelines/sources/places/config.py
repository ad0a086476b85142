"""What a source's YAML may say of each kind of place."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from forge_pipelines.manifest import Value
from forge_pipelines.sources.places.globs import compile_globs
from forge_pipelines.sources.places.template import compile_template

ConnectionName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
"""The name under which a site keeps the address and the credentials of a database or an object store."""


class Patterns(Value):
    """Which of a place's files are read."""

    include: tuple[str, ...] = Field(
        ("**/*",), min_length=1, description="Glob patterns of the files to read, relative to the place."
    )
    exclude: tuple[str, ...] = Field((), description="Glob patterns of files to leave out.")

    @field_validator("include", "exclude")
    @classmethod
    def _patterns_mean_something(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        compile_globs(patterns)
        return patterns


class FolderPlace(Patterns):
    """Documents in a folder of this machine."""

    path: str = Field(
        min_length=1, description="The folder. Relative paths start at the folder in which Forge was started."
    )


class ObjectStorePlace(Patterns):
    """Documents in an object store: `s3://`, `gs://` or `az://`."""

    url: str = Field(
        pattern=r"^(s3|gs|gcs|az|abfs)://[^@/?#]+(/[^?#]*)?$",
        description="`s3://bucket/prefix`, without credentials: these belong to the connection.",
    )
    connection: ConnectionName | None = Field(
        None, description="Where endpoint and credentials are kept. Default: those of this machine."
    )
    allow_public: bool = Field(False, description="Whether the store may stand at a public address.")


class SqlPlace(Value):
    """Documents in a database: a row is a document."""

    connection: ConnectionName = Field(description="Where the database's URL is kept.")
    table: str | None = Field(None, description="The table (or `schema.table`) that holds them; or a `query`.")
    query: str | None = Field(None, description="A SELECT that gives the columns named below; or a `table`.")
    id: str = Field("id", description="The column that names a row, once: the document's `uri`.")
    text: str = Field(
        min_length=1, description="The document: columns in braces, such as `{title}` and `{body}`, between text."
    )
    updated_at: str | None = Field(
        None, description="The column that says when a row was last changed: rows that were not are not fetched again."
    )
    allow_public: bool = Field(False, description="Whether the database may stand at a public address.")

    @field_validator("text")
    @classmethod
    def _text_names_columns(cls, text: str) -> str:
        compile_template(text)
        return text

    @model_validator(mode="after")
    def _either_table_or_query(self) -> Self:
        if (self.table is None) == (self.query is None):
            raise ValueError("a database needs a `table` or a `query`, and not both")
        return self


class RecordColumns(Value):
    """Which columns hold what. What is left out is found by its usual names."""

    id: str | None = Field(None, description="The column that names a record, once in its file. Default: its number.")
    text: str | None = Field(None, description="Of `text`: a column, or columns in braces between text.")
    messages: str | None = Field(None, description="Of `chat`: the column with the list of messages.")
    prompt: str | None = Field(None, description="Of `chat` and `preference`: the question's column.")
    completion: str | None = Field(None, description="Of `chat`: the answer's column.")
    system: str | None = Field(None, description="Of `chat` and `preference`: the system prompt's column.")
    chosen: str | None = Field(None, description="Of `preference`: the better answer's column.")
    rejected: str | None = Field(None, description="Of `preference`: the worse answer's column.")


class RecordsPlace(Patterns):
    """Data sets on this machine: Parquet, Arrow, JSONL, CSV, TSV or Excel files, of which each record is a document."""

    path: str = Field(min_length=1, description="The folder that holds the files.")
    kind: Literal["text", "chat", "preference"] = Field("text", description="What a record is.")
    columns: RecordColumns = Field(default_factory=RecordColumns, description="Which columns hold what.")


class MailboxPlace(Value):
    """Mail on this machine: an mbox file, a maildir, or a folder of .eml and mbox files."""

    path: str = Field(min_length=1, description="The file or folder.")

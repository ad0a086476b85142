"""What goes into the converting process, and the one line of JSON that comes out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from forge_pipelines.channel import Refused
from forge_pipelines.manifest import Value


class ImportJob(Value):
    """All that the converting process is told.

    Attributes:
        path: a folder, or a GGUF file.
        architecture: what builds the network, of a folder.
        output: an existing folder for the result.
        parent_pid: process that it must not outlive.
    """

    form: Literal["safetensors", "gguf"]
    path: Path
    architecture: Mapping[str, Any] | None
    output: Path
    parent_pid: int


class Converted(Value):
    """What was made of a model.

    Attributes:
        form: how the weights came: ``safetensors``, or ``GGUF`` with the kind of most tensors.
        weights: in words, what the weights are.
        window: tokens that the network sees at once.
    """

    kind: Literal["converted"] = "converted"
    model_type: str
    form: str
    weights: str
    parameters: int
    vocabulary: int
    window: int
    chat_template: bool


_END: TypeAdapter[Converted | Refused] = TypeAdapter(Annotated[Converted | Refused, Field(discriminator="kind")])


def from_line(line: str) -> Converted | Refused:
    """Return what the process's one line says."""
    return _END.validate_json(line)

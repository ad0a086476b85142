"""What is said of an open model when it is brought in."""

from pydantic import Field

from forge_pipelines.manifest import Classification, Name, Value


class BaseConfig(Value):
    """An open model to be brought in, and what it is labelled with."""

    name: Name = Field(description="What models call it in their YAML: `base: <name>`.")
    place: str = Field(min_length=1, description="A folder as transformers saves it, a GGUF file, or a hub's name.")
    licence: str = Field(min_length=1, description="SPDX licence expression, for example `Apache-2.0`.")
    classification: Classification = Field(Classification.PUBLIC, description="How widely it may be seen.")
    origin: str = Field("", description="Where it came from, in words for people. Default: the place.")
    revision: str | None = Field(None, description="A hub's revision; only with a hub's name.")

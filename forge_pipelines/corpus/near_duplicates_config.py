"""What a corpus's YAML may say of near-copies."""

from typing import Literal

from pydantic import Field, model_validator

from forge_pipelines.manifest import Value


class NearDuplicatesConfig(Value):
    """When two texts are near-copies, which of them is kept, and from where on they share a part of the split."""

    enabled: bool = Field(True, description="False keeps near-copies, and lets them fall to both parts of the split.")
    similarity: float = Field(
        0.8, ge=0.5, le=1, description="Jaccard similarity of two texts' 5-word shingles from which one is a copy."
    )
    keep: Literal["oldest", "longest", "preferred_source"] = Field(
        "oldest",
        description="Which copy is kept: the oldest by `retrieved_at` (unknown last), the longest, or the one of the "
        "source that is named first. Ties: by the order of sources, then by `uri`.",
    )
    split_similarity: float | None = Field(
        0.5,
        ge=0.5,
        le=1,
        description="Jaccard similarity from which two documents share a part of the split; null: each is drawn alone.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> "NearDuplicatesConfig":
        if self.split_similarity is not None and self.split_similarity > self.similarity:
            message = (
                f"split_similarity ({self.split_similarity:g}) is above similarity ({self.similarity:g}): "
                "what is at least as alike as that is a copy already"
            )
            raise ValueError(message)
        return self

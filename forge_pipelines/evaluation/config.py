"""What a model's YAML may say under `evaluation:`."""

from collections.abc import Collection
from typing import Annotated

from pydantic import Field

from forge_pipelines.errors import ConfigError
from forge_pipelines.gpu.request import GpuRequest
from forge_pipelines.manifest import Name, Value

Question = Annotated[str, Field(pattern=r"\S", max_length=2_000)]


class EvaluationConfig(Value):
    """On what, and how much, the checkpoint and its base are measured."""

    general: tuple[Name, ...] = Field(
        (), description="Corpora whose held-out documents are general text: what the model must not forget."
    )
    questions: tuple[Question, ...] = Field(
        (), max_length=100, description="Asked of the model and of its base; the answers stand side by side."
    )
    answer_tokens: int = Field(80, gt=0, description="Tokens of an answer, at most.")
    max_documents: int = Field(
        400, gt=1, description="Held-out documents to score, and general ones; the first by text hash."
    )
    max_characters: int = Field(20_000, gt=0, description="Characters scored of each document, from its beginning.")
    max_context_tokens: int = Field(1_024, gt=1, description="Tokens that the networks see at once, at most.")
    bootstrap_samples: int = Field(2_000, gt=0, description="Resamples behind each 95 % interval.")
    seed: int = Field(0, ge=0, description="Seed of the resampling.")
    gpus: GpuRequest = Field(default_factory=lambda: GpuRequest(count=1), description="GPUs.")


def check_general(general: Collection[str], trained_on: Collection[str]) -> None:
    """Refuse general text that the model learns from; cheap, done when the YAML loads.

    Raises:
        ConfigError: a corpus stands on both sides, or no corpus is left that the model itself is measured on.
    """
    both = sorted(set(general) & set(trained_on))
    if both:
        raise ConfigError(
            f"evaluation.general names {', '.join(both)}, which the model is trained on; general text is what it is "
            "not trained on, so name other corpora there"
        )

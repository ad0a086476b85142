"""What a model's YAML may say under `evaluation:`."""

from collections.abc import Collection, Mapping
from typing import Annotated

from pydantic import Field

from forge_pipelines.errors import ConfigError
from forge_pipelines.gpu.request import GpuRequest
from forge_pipelines.manifest import Name, Value

Question = Annotated[str, Field(pattern=r"\S", max_length=2_000)]


class EvaluationConfig(Value):
    """On what, and how much, the checkpoint and its base are measured."""

    general: tuple[Name, ...] = Field(
        (),
        description="Corpora whose held-out documents are general text: what the model must not forget. Each corpus "
        "that the model is trained on names them under `decontamination.evaluation_sets`.",
    )
    questions: tuple[Question, ...] = Field(
        (), max_length=100, description="Asked of the model and of its base; the answers stand side by side."
    )
    answer_tokens: int = Field(80, gt=0, description="Tokens of an answer, at most.")
    max_documents: int = Field(
        400, gt=1, description="Held-out documents to score, and general ones; the first by text hash."
    )
    max_characters: int = Field(
        20_000,
        gt=0,
        description="Characters scored of each document, from its beginning; a pair of answers is left out if one of "
        "them ends beyond.",
    )
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


def check_decontaminated(
    model: Name, general: Collection[Name], decontaminated_against: Mapping[Name, Collection[Name]]
) -> None:
    """Refuse general text that the model's corpora may hold copies of; cheap, done when the YAML loads.

    Args:
        model: the model's name.
        general: the corpora on whose held-out documents it is measured.
        decontaminated_against: for each corpus that it is trained on, those whose held-out documents it does not hold.

    Raises:
        ConfigError: a corpus that it is trained on does not name one of them.
    """
    for trained_on, named in decontaminated_against.items():
        for corpus in general:
            if corpus not in named:
                raise ConfigError(
                    f"model {model} is measured on what corpus {corpus} holds out (evaluation.general), and corpus "
                    f"{trained_on}, which it is trained on, may hold the same text; write `- {{corpus: {corpus}}}` "
                    f"under decontamination.evaluation_sets in the YAML of {trained_on}"
                )

"""What a model's YAML may say under `evaluation:`."""

from pydantic import Field

from forge_pipelines.gpu.request import GpuRequest
from forge_pipelines.manifest import Value


class EvaluationConfig(Value):
    """On what, and how much, the checkpoint is measured."""

    max_documents: int = Field(400, gt=1, description="Held-out documents to score; the first by text hash.")
    max_characters: int = Field(20_000, gt=0, description="Characters scored of each document, from its beginning.")
    bootstrap_samples: int = Field(2_000, gt=0, description="Resamples behind each 95 % interval.")
    seed: int = Field(0, ge=0, description="Seed of the resampling.")
    gpus: GpuRequest = Field(default_factory=lambda: GpuRequest(count=1), description="GPUs.")

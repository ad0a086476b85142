"""What a model's YAML may say under `training:`."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from forge_pipelines.bases.architecture import find_fault
from forge_pipelines.gpu.request import GpuRequest
from forge_pipelines.manifest import Value


class TrainingConfig(Value):
    """The recipe: which network, how long, how fast, on what."""

    architecture: Mapping[str, Any] | None = Field(
        None,
        description="Configuration of a network to train from scratch, as transformers writes it: `model_type` and its "
        "sizes. The vocabulary and the special tokens come from the tokenizer. Default: the model's base goes on.",
    )
    steps: int = Field(gt=0, description="Optimizer steps.")
    batch_sequences: int = Field(8, gt=0, description="Sequences a step, over all ranks (the global batch).")
    micro_batch_sequences: int | None = Field(
        None, gt=0, description="Sequences a rank works on at once; the rest is accumulated. Default: as many as fit."
    )
    learning_rate: float = Field(3e-4, gt=0, description="Peak learning rate.")
    warmup_steps: int = Field(10, ge=0, description="Steps of linear warm-up, before a cosine decay to zero.")
    weight_decay: float = Field(0.1, ge=0, description="AdamW's weight decay.")
    max_gradient_norm: float = Field(1.0, gt=0, description="Gradients are clipped to this norm.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="bf16 keeps an fp32 master copy of the weights. Default: bf16 where the machine that trains "
        "multiplies it faster than fp32 (GPUs from Ampere on, CPUs with AMX), else fp32.",
    )
    zero_stage: Literal[0, 1, 2, 3] = Field(1, description="DeepSpeed's ZeRO stage.")
    checkpoint_every_steps: int = Field(50, gt=0, description="A crash costs at most this many steps.")
    keep_checkpoints: int = Field(2, ge=2, description="How many of the last checkpoints are kept during training.")
    loss_spike: float = Field(
        3.0,
        gt=0,
        description="A loss so far above the median of the 32 steps before is a fault, as is one that is no number.",
    )
    skip_batches: int = Field(
        0,
        ge=0,
        description="How many batches on which the loss is a fault may be skipped, after going back to the last "
        "checkpoint. Default: training ends, and names their documents.",
    )
    seed: int = Field(0, ge=0, description="Seed of the weights and of the order of samples.")
    gpus: GpuRequest = Field(default_factory=lambda: GpuRequest(count=1), description="GPUs, one rank each.")

    @field_validator("architecture")
    @classmethod
    def _allowed(cls, architecture: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        fault = find_fault(architecture) if architecture is not None else None
        if fault:
            raise ValueError(fault)
        return architecture

    @model_validator(mode="after")
    def _divides(self) -> "TrainingConfig":
        micro = self.micro_batch_sequences or 1
        if self.batch_sequences % (self.ranks * micro):
            message = (
                f"batch_sequences ({self.batch_sequences}) is no multiple of {self.ranks} ranks × {micro} sequences"
            )
            raise ValueError(message)
        return self

    @property
    def ranks(self) -> int:
        """How many processes train together: one a GPU, and one where no GPU is asked for."""
        return max(self.gpus.count, 1)

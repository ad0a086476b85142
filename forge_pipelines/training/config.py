"""What a model's YAML may say under `training:`."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from forge_pipelines.bases.architecture import find_fault
from forge_pipelines.gpu.request import GpuRequest
from forge_pipelines.manifest import Value
from forge_pipelines.shards.config import Examples
from forge_pipelines.training.deepspeed_config import complete, find_contradiction

Objective = Literal["pretrain", "continue", "sft", "dpo"]

EXAMPLES: Mapping[Objective, Examples] = {
    "pretrain": "texts",
    "continue": "texts",
    "sft": "chats",
    "dpo": "preferences",
}
"""What each objective learns from."""

_LENGTHS = ("steps", "epochs", "tokens")


class LoraConfig(Value):
    """Low-rank adaptation (Hu et al., 2021): small matrices are trained beside the base's, which stay as they are."""

    rank: int = Field(16, gt=0, description="Rank of the matrices.")
    alpha: float = Field(32, gt=0, description="What they learn is scaled by alpha / rank.")
    dropout: float = Field(0, ge=0, lt=1, description="Share of their inputs that is dropped while training.")
    targets: tuple[str, ...] = Field(
        (),
        description="Names of the layers that get such matrices, such as q_proj. Default: all linear layers but the "
        "output matrix.",
    )


class TrainingConfig(Value):
    """The recipe: which network, how long, how fast, on what."""

    objective: Objective | None = Field(
        None,
        description="pretrain: from scratch. continue: the base, on more text. sft: the base, on answers in chats. "
        "dpo: the base, on pairs of a better and a worse answer. Default: pretrain or continue.",
    )
    architecture: Mapping[str, Any] | None = Field(
        None,
        description="Configuration of a network to train from scratch, as transformers writes it: `model_type` and its "
        "sizes. The vocabulary and the special tokens come from the tokenizer. Default: the model's base goes on.",
    )
    lora: LoraConfig | None = Field(
        None, description="Train low-rank matrices, merged when published. Default: all weights are trained."
    )
    dpo_beta: float = Field(0.1, gt=0, description="Of dpo: how strongly the model is held to its base.")
    steps: int | None = Field(None, gt=0, description="Optimizer steps; or say `epochs` or `tokens`.")
    epochs: float | None = Field(None, gt=0, description="How often each sequence is read.")
    tokens: int | None = Field(None, gt=0, description="Tokens to read, padding included.")
    batch_sequences: int = Field(8, gt=0, description="Sequences a step, over all ranks (the global batch).")
    batch_tokens: int | None = Field(
        None, gt=0, description="The global batch in tokens: at most so many. Instead of `batch_sequences`."
    )
    micro_batch_sequences: int | None = Field(
        None,
        gt=0,
        description="Sequences a rank works on at once; the rest is accumulated. Default: on GPUs, as many "
        "as fit; on a CPU, all.",
    )
    learning_rate: float = Field(3e-4, gt=0, description="Peak learning rate.")
    schedule: Literal["cosine", "linear", "constant"] = Field(
        "cosine", description="How the learning rate goes from its peak to zero, or that it stays."
    )
    warmup_steps: int = Field(10, ge=0, description="Steps of linear warm-up, before that.")
    weight_decay: float = Field(0.1, ge=0, description="AdamW's weight decay.")
    max_gradient_norm: float = Field(1.0, gt=0, description="Gradients are clipped to this norm.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="bf16 keeps an fp32 master copy of the weights. Default: bf16 where the machine that trains "
        "multiplies it faster than fp32 (GPUs from Ampere on, CPUs with AMX), else fp32.",
    )
    gradient_checkpointing: bool = Field(
        False, description="Compute activations again on the way back: less memory, a third more work."
    )
    compile: bool | None = Field(
        None,
        description="Compile the network's layers with torch.compile, but at ZeRO stage 3, and on GPUs leave out of "
        "attention what lies between packed documents. It takes seconds to start, and is faster then, in less memory. "
        "It needs a C++ compiler. Default: on GPUs that multiply bf16, in bf16, but for dpo.",
    )
    deterministic: bool = Field(
        True,
        description="Add up in one order on GPUs, and when compiled, so that what is resumed is bit by bit what was "
        "never interrupted; on GPUs that costs some speed. Networks with operations that have no order need false.",
    )
    zero_stage: Literal[0, 1, 2, 3] = Field(1, description="DeepSpeed's ZeRO stage.")
    offload: Literal["none", "optimizer", "parameters"] = Field(
        "none",
        description="What ZeRO keeps in the machine's memory instead of the GPU's: the optimizer, which needs stage 1, "
        "or the parameters, too, which need stage 3.",
    )
    deepspeed: Mapping[str, Any] | None = Field(
        None,
        description="A whole DeepSpeed configuration: it may say what is left out here, and contradict nothing.",
    )
    checkpoint_every_steps: int = Field(50, gt=0, description="A crash costs at most this many steps.")
    keep_checkpoints: int = Field(
        2,
        ge=2,
        description="How many of the last checkpoints are kept during training. One more takes room, over which the "
        "next is written.",
    )
    keep_every_steps: int | None = Field(
        None,
        gt=0,
        description="Checkpoints after every so many steps are published with the model: clean points from which "
        "training can go on without a document that must be taken back. Default: none are.",
    )
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
    stall_seconds: float = Field(
        1800, gt=0, description="Training that does nothing for so long is ended, with what each rank was at."
    )
    seed: int = Field(0, ge=0, description="Seed of the weights and of the order of samples.")
    gpus: GpuRequest = Field(default_factory=lambda: GpuRequest(count=1), description="GPUs, one rank each.")

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, said: Any) -> Any:
        return complete(said) if isinstance(said, Mapping) else said

    @field_validator("architecture")
    @classmethod
    def _allowed(cls, architecture: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        fault = find_fault(architecture) if architecture is not None else None
        if fault:
            raise ValueError(fault)
        return architecture

    @model_validator(mode="after")
    def _has_one_length(self) -> "TrainingConfig":
        said = [name for name in _LENGTHS if getattr(self, name) is not None]
        if len(said) != 1:
            what = f"says {' and '.join(said)}" if said else "does not say how long training is"
            raise ValueError(f"the recipe {what}; give one of steps, epochs and tokens")
        if self.tokens is not None and self.objective == "dpo":
            raise ValueError("dpo reads pairs of answers, each as long as it is; give steps or epochs, not tokens")
        return self

    @model_validator(mode="after")
    def _fits_its_objective(self) -> "TrainingConfig":
        from_scratch = self.architecture is not None
        if from_scratch and self.objective not in (None, "pretrain"):
            raise ValueError(f"{self.objective} goes on from a base; remove training.architecture, and name a base")
        if not from_scratch and self.objective == "pretrain":
            raise ValueError("pretrain begins from scratch; describe the network under training.architecture")
        if from_scratch and self.lora is not None:
            raise ValueError("lora adapts a base, and training.architecture begins from scratch; remove one of them")
        if self.compile and self.objective == "dpo":
            raise ValueError("compile needs sequences of one length, and dpo's pairs are of many; remove compile")
        return self

    @model_validator(mode="after")
    def _divides(self) -> "TrainingConfig":
        if self.batch_tokens is not None:
            if "batch_sequences" in self.model_fields_set:
                raise ValueError("the recipe says batch_sequences and batch_tokens; give one of them")
            return self
        micro = self.micro_batch_sequences or 1
        if self.batch_sequences % (self.ranks * micro):
            message = (
                f"batch_sequences ({self.batch_sequences}) is no multiple of {self.ranks} ranks × {micro} sequences"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _keeps_what_is_saved(self) -> "TrainingConfig":
        if self.keep_every_steps is not None and self.keep_every_steps % self.checkpoint_every_steps:
            message = f"keep_every_steps ({self.keep_every_steps}) is no multiple of checkpoint_every_steps"
            raise ValueError(f"{message} ({self.checkpoint_every_steps}); only what is saved can be kept")
        return self

    @model_validator(mode="after")
    def _offloads_what_is_there(self) -> "TrainingConfig":
        if self.offload == "parameters" and self.zero_stage != 3:
            raise ValueError(f"offload: parameters needs zero_stage: 3, not {self.zero_stage}")
        if self.offload == "optimizer" and self.zero_stage == 0:
            raise ValueError("offload: optimizer needs zero_stage: 1 or more, not 0")
        return self

    @model_validator(mode="after")
    def _agrees_with_deepspeed(self) -> "TrainingConfig":
        fault = self.deepspeed and find_contradiction(self.deepspeed, dict(self), self.ranks)
        if fault:
            raise ValueError(fault)
        return self

    @property
    def ranks(self) -> int:
        """How many processes train together: one a GPU, and one where no GPU is asked for."""
        return max(self.gpus.count, 1)

    @property
    def examples(self) -> Examples:
        """What is learned from."""
        return EXAMPLES[self.objective or "continue"]

"""What one rank keeps in memory, by part: a formula, held against real ranks by its tests.

On an H200 in bf16, compiled, with sequences of 4,096 tokens, 1.2 billion parameters allocated 0.90 of what it says,
8 at once, and 135 million 0.96, 16 at once.

The states. With N parameters, A of them trained (an adapter's, or all), W ranks and p bytes a number (4 in fp32, 2 in
bf16), DeepSpeed 0.19 keeps

    weights          p·N,  over W from ZeRO stage 3 on
    gradients        p·A,  over W from stage 2 on
    AdamW's moments  8·A,  over W from stage 1 on
    master weights   4·A,  over W from stage 1 on; in fp32, too, but not at stage 0
    gathered         p·min(N, 1e9) at stage 3 alone: other ranks' weights; 1e9 is ``stage3_max_live_parameters``
    the base         p·N,  over W from stage 3 on: of dpo, unless an adapter can be switched off instead

(Rajbhandari et al., 2020, «ZeRO», section 3, and what DeepSpeed's optimizers add to it), and besides, the larger of
what passes while gradients are computed and of what passes while the optimizer takes them:

    activations, logits, and a bucket of p·5e8, where gradients wait for other ranks (5e8 is ``reduce_bucket_size``; two
                     with ``overlap_comm`` at stages 1 and 2); at stage 0, and on a CPU, where memory that nobody writes
                     to takes none, p·min(A, 5e8)
    the update       the gradients in one piece, and that in fp32: 4·A, in bf16 6·A, over W from stage 1 on

What is offloaded (moments, master weights and the update; the weights, too) stands in the machine's memory instead.

The activations: what autograd saves between forward and backward, counted as Korthikanti et al. (2022, «Reducing
Activation Recomputation in Large Transformer Models», section 4) count it, for the networks of today: bytes a token and
layer, with the names of `NetworkShape`,

    attention    p·4·queries (queries, keys and values of every head, result), and p·T for the mask that keeps it
                 within a packed document: SDPA keeps no T×T matrix a head, but this one a layer; none
                 where attention is worked out block by block, see `worker.attention`
    MLP          p·4·mlp where it is gated, p·2·mlp else; of experts, those that a token goes to, with input and output
    norms        2·(4 + 2·p)·hidden: an RMSNorm saves its input in fp32, and its result before and after its weight;
                 compiled, 2·p·hidden: what is not multiplied is computed again

and one layer more than there are, for the gradients on their way through a layer. With gradient checkpointing each
layer's input alone is kept, p·hidden, and a single layer's activations are there at a time. An adapter's own are left
out: they are as narrow as its rank. The loss holds the logits three times in fp32: probabilities, their gradient and
that of the logits. Of dpo, a sample is two sequences.
"""

from typing import Literal

from pydantic import Field

from forge_pipelines.manifest import Value
from forge_pipelines.training.deepspeed_config import BUCKET, LIVE, buffers
from forge_pipelines.training.recipe import GATHERING_STAGE, Recipe
from forge_pipelines.training.sizing import NetworkShape

_CUDA_BYTES = 800_000_000
_CPU_BYTES = 650_000_000
_CUDA_RESERVED, _CPU_RESERVED = 0.1, 0.35
_LOGITS_BYTES = 12
_OFFLOADS = (("optimizer", "parameters"), ("parameters",))
"""By what the optimizer is offloaded, and by what the weights are."""


class Layout(Value):
    """All of a recipe that its memory depends on.

    Attributes:
        number_bytes: p: 4 in fp32, 2 in bf16.
        ranks: W.
        micro_batch: B, the samples that a rank works on at once.
        sequence_length: T, in tokens.
        pairs: a sample is two sequences, and the base stands beside the network: dpo.
        adapted: an adapter alone is trained.
        recomputed: activations are computed again on the way back: gradient checkpointing.
        compiled: layers are compiled, up to ZeRO stage 2, and attention on GPUs.
        bucket: DeepSpeed's ``reduce_bucket_size``, in numbers.
        two_buckets: its ``overlap_comm``.
        live: its ``stage3_max_live_parameters``.
    """

    number_bytes: int
    zero_stage: int = Field(ge=0, le=3)
    ranks: int = Field(gt=0)
    micro_batch: int = Field(gt=0)
    sequence_length: int = Field(gt=0)
    pairs: bool = False
    adapted: bool = False
    recomputed: bool = False
    compiled: bool = False
    offload: Literal["none", "optimizer", "parameters"] = "none"
    bucket: int = Field(BUCKET, ge=0)
    two_buckets: bool = False
    live: int = Field(LIVE, ge=0)

    @property
    def tokens(self) -> int:
        """Tokens that a rank works on at once."""
        return self.micro_batch * self.sequence_length * (2 if self.pairs else 1)

    def ranks_from(self, stage: int) -> int:
        """Return over how many ranks something is divided that ZeRO divides from a stage on."""
        return self.ranks if self.zero_stage >= stage else 1


class Memory(Value):
    """Bytes of one rank, by part.

    Attributes:
        base: of dpo.
        optimizer: AdamW's moments and the fp32 master weights.
        gathered: weights of other ranks, at ZeRO stage 3.
        buckets: where gradients wait for other ranks.
        update: the gradients as the optimizer takes them; activations, logits and buckets are gone by then.
        runtime: CUDA's context and libraries, or PyTorch and DeepSpeed themselves on a CPU.
        offloaded: what stands in the machine's memory instead of the GPU's.
        reserved: of all but the runtime, the share that the allocator holds besides and cannot use. It is larger on a
            CPU, where ranks keep freed memory: 0.21 was seen of 135 million parameters, and 0.39 to 0.77 of 18 million.
    """

    weights: int
    base: int
    gradients: int
    optimizer: int
    gathered: int
    activations: int
    logits: int
    buckets: int
    update: int
    runtime: int
    offloaded: int
    reserved: float

    @property
    def parts(self) -> dict[str, int]:
        """The parts that are there at the fullest moment, by name, in order, and the reserve."""
        there = self.model_dump(exclude={"offloaded", "reserved"})
        is_fullest_at_update = self.update > self.activations + self.logits + self.buckets
        gone = {"activations", "logits", "buckets"} if is_fullest_at_update else {"update"}
        there = {part: num_bytes for part, num_bytes in there.items() if num_bytes and part not in gone}
        return {**there, "reserve": int(self.reserved * (sum(there.values()) - self.runtime))}

    @property
    def total(self) -> int:
        """All of `parts` together."""
        return sum(self.parts.values())


def layout_of(recipe: Recipe, sequence_length: int) -> Layout:
    """Return the layout of a recipe whose precision is settled."""
    of_a_rank = recipe.batch_sequences // recipe.ranks
    return Layout(
        number_bytes=2 if recipe.precision == "bf16" else 4,
        zero_stage=recipe.zero_stage,
        ranks=recipe.ranks,
        micro_batch=recipe.micro_batch_sequences or of_a_rank,
        sequence_length=sequence_length,
        pairs=recipe.objective == "dpo",
        adapted=recipe.lora is not None,
        recomputed=recipe.gradient_checkpointing,
        compiled=recipe.compile,
        offload=recipe.offload,
        **buffers(recipe.deepspeed),
    )


def micro_batches(layout: Layout, batch_sequences: int) -> list[Layout]:
    """Return the layouts whose micro-batches divide what a rank has of a batch, the largest first."""
    of_a_rank = batch_sequences // layout.ranks
    sizes = [size for size in range(of_a_rank, 0, -1) if of_a_rank % size == 0]
    return [layout.model_copy(update={"micro_batch": size}) for size in sizes]


def layout_that_fits(shape: NetworkShape, layout: Layout, batch_sequences: int, memory_bytes: int) -> Layout:
    """Return the layout with the largest micro-batches that a GPU has memory for, or the smallest where none fit."""
    layouts = micro_batches(layout, batch_sequences)
    return next((each for each in layouts if memory_of(shape, each, on_gpu=True).total <= memory_bytes), layouts[-1])


def memory_of(shape: NetworkShape, layout: Layout, *, on_gpu: bool) -> Memory:
    """Return what one rank keeps, by part, in bytes; the formula is the module's."""
    number, parameters = layout.number_bytes, shape.parameters
    trained = trained_parameters(shape, layout)
    of_optimizer = trained // layout.ranks_from(1)
    has_master = layout.zero_stage >= 1 or number == 2
    weights = number * parameters // layout.ranks_from(3)
    optimizer = (12 if has_master else 8) * of_optimizer
    update = (4 if number == 4 else 6) * of_optimizer if has_master else 0
    # A CPU has one memory only.
    optimizer_goes, weights_go = (on_gpu and layout.offload in parts for parts in _OFFLOADS)
    return Memory(
        weights=0 if weights_go else weights,
        base=weights if layout.pairs and not layout.adapted else 0,
        gradients=number * trained // layout.ranks_from(2),
        optimizer=0 if optimizer_goes else optimizer,
        gathered=number * min(parameters, layout.live) if layout.zero_stage == GATHERING_STAGE else 0,
        activations=_kept_activations(shape, layout, on_gpu=on_gpu) * layout.tokens,
        logits=_LOGITS_BYTES * shape.vocabulary * layout.tokens,
        buckets=number * _buckets(layout, trained, on_gpu=on_gpu),
        update=0 if optimizer_goes else update,
        runtime=_CUDA_BYTES if on_gpu else _CPU_BYTES,
        reserved=_CUDA_RESERVED if on_gpu else _CPU_RESERVED,
        offloaded=(optimizer + update if optimizer_goes else 0) + (weights if weights_go else 0),
    )


def _buckets(layout: Layout, trained: int, *, on_gpu: bool) -> int:
    """Return how many numbers the buckets of gradients have room for."""
    if layout.zero_stage == 0:
        return min(trained, BUCKET) if layout.ranks > 1 else 0
    of_one = layout.bucket if on_gpu else min(trained, layout.bucket)
    return of_one * (2 if layout.two_buckets and layout.zero_stage < GATHERING_STAGE else 1)


def trained_parameters(shape: NetworkShape, layout: Layout) -> int:
    """Return how many numbers are trained: an adapter's, or all."""
    return shape.adapter if layout.adapted else shape.parameters


def _kept_activations(shape: NetworkShape, layout: Layout, *, on_gpu: bool) -> int:
    """Return what all layers keep at the fullest moment, in bytes a token."""
    of_a_layer = activation_bytes(shape, layout, on_gpu=on_gpu)
    if layout.recomputed:
        return shape.layers * layout.number_bytes * shape.hidden + 2 * of_a_layer
    return (shape.layers + 1) * of_a_layer


def remedy(recipe: Recipe) -> str:
    """Say what of a recipe takes less memory when it is changed, the least change first."""
    micro = recipe.micro_batch_sequences or recipe.batch_sequences // recipe.ranks
    smaller = next((size for size in range(micro // 2, 0, -1) if micro % size == 0), None)
    changes = [f"lower training.micro_batch_sequences from {micro} to {smaller}"] if smaller else []
    if not recipe.gradient_checkpointing:
        changes.append("set training.gradient_checkpointing: true")
    # At ZeRO stage 3 layers are no longer compiled, and keep more.
    highest = GATHERING_STAGE - 1 if recipe.compile else GATHERING_STAGE
    if recipe.ranks > 1 and recipe.zero_stage < highest:
        changes.append(f"raise training.zero_stage from {recipe.zero_stage} to {recipe.zero_stage + 1}")
    if recipe.lora is None and recipe.architecture is None:
        changes.append("train an adapter alone (training.lora)")
    if not changes:
        changes = ["shorten the sequences (shards.sequence_length)", "use a machine with more memory"]
    return f"{', or '.join(changes)}, and run the same command again"


def activation_bytes(shape: NetworkShape, layout: Layout, *, on_gpu: bool) -> int:
    """Return what autograd saves of one layer, in bytes a token."""
    number, hidden = layout.number_bytes, shape.hidden
    has_mask = not (layout.compiled and on_gpu and shape.has_blocks)
    attention = number * (4 * shape.queries + has_mask * layout.sequence_length)
    is_fused = layout.compiled and layout.zero_stage < GATHERING_STAGE
    match shape.model_type:
        case "gpt_neox":  # its LayerNorms save no fp32, its values stand in the product with queries and keys
            return attention + number * (2 * shape.mlp + 6 * hidden)
        case "olmo2" | "qwen3" if is_fused:  # each has norms of queries and keys
            norms = number * (2 * hidden + shape.queries + shape.keys)
        case _ if is_fused:
            norms = number * 2 * hidden
        case "olmo2":  # its norms come after attention and MLP, and multiply in fp32
            norms = (16 + 2 * number) * hidden + 8 * (shape.queries + shape.keys)
        case "qwen3":
            norms = 2 * (4 + 2 * number) * hidden + (4 + number) * (shape.queries + shape.keys)
        case _:
            norms = 2 * (4 + 2 * number) * hidden
    mlp = number * 4 * shape.mlp
    if shape.experts:
        mlp = shape.experts * (mlp + number * 2 * hidden)
    return attention + norms + mlp

"""`python -m forge_pipelines.training.worker.sizing job.json`: a network's sizes, and its times on the CPU, as JSON.

The network is built on the meta device, where tensors have a shape and no numbers. What is timed is one or two of its
layers, at their true widths, and its output matrix.
"""

import sys
import time

_STARTED = time.monotonic()

from forge_pipelines.importing import uncollected  # noqa: E402

with uncollected():
    from collections.abc import Callable
    from copy import deepcopy
    from pathlib import Path
    from statistics import median

    import psutil
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

    from forge_pipelines.channel import answer
    from forge_pipelines.errors import ConfigError
    from forge_pipelines.processes import die_with_parent
    from forge_pipelines.training.sizing import NetworkShape, Sized, SizingJob, Timing
    from forge_pipelines.training.worker.adapters import adapter_size
    from forge_pipelines.training.worker.attention import has_blocks, head_width
    from forge_pipelines.training.worker.network import NO_NETWORK, check_heads, no_network

_TIMED_LAYERS = 2
_TIMED_FLOPS = 1.5e11
_TIMED_SECONDS = 0.6
_UPDATED_PARAMETERS = 16_000_000
_START_SECONDS = time.monotonic() - _STARTED


def size(job: SizingJob) -> Sized:
    """Build the network without its weights, and time its parts where the job says so.

    Raises:
        ConfigError: there is no such network, or it sees fewer tokens at once than a sequence has, or has none of the
            layers that are to be adapted.
    """
    config = _configuration(job)
    network = _build(config)
    shape = shape_of(network, adapter_size(network, job.lora))
    if job.sequence_length > shape.window:
        message = f"sequences of {job.sequence_length} tokens are longer than the network sees at once"
        raise ConfigError(f"{message} (max_position_embeddings is {shape.window}); lower shards.sequence_length")
    timing = _time_parts(network, shape, job) if job.timed else None
    return Sized(shape=shape, timing=timing, start_seconds=_START_SECONDS)


def _configuration(job: SizingJob) -> PreTrainedConfig:
    if job.base is not None:
        return AutoConfig.from_pretrained(job.base, local_files_only=True, trust_remote_code=False)
    assert job.architecture is not None
    try:
        return AutoConfig.for_model(**job.architecture, vocab_size=job.vocabulary, pad_token_id=None)
    except NO_NETWORK as error:
        raise no_network(error) from error


def _build(config: PreTrainedConfig) -> PreTrainedModel:
    try:
        check_heads(config)
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="sdpa")
    except NO_NETWORK as error:
        raise no_network(error) from error


def shape_of(network: PreTrainedModel, adapter: int = 0) -> NetworkShape:
    """Return the sizes of a network, and of its adapter, that its memory and its speed depend on."""
    config = network.config
    heads, width = config.num_attention_heads, head_width(network)
    table, output = network.get_input_embeddings().weight, network.get_output_embeddings().weight
    experts, chosen = getattr(config, "num_local_experts", 0), getattr(config, "num_experts_per_tok", 0)
    of_experts = sum(size_of(weight) for name, weight in network.named_parameters() if ".experts." in name)
    return NetworkShape(
        model_type=config.model_type,
        parameters=sum(map(size_of, network.parameters())),
        adapter=adapter,
        looked_up=0 if table is output else size_of(table),
        idle=of_experts * (experts - chosen) // experts if experts else 0,
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        queries=heads * width,
        keys=(getattr(config, "num_key_value_heads", None) or heads) * width,
        mlp=config.intermediate_size,
        experts=chosen if experts else 0,
        vocabulary=config.vocab_size,
        window=config.max_position_embeddings,
        has_blocks=has_blocks(network),
    )


def size_of(weight: torch.Tensor) -> int:
    """Return how many numbers a weight has, of which DeepSpeed may leave this process only a part."""
    return int(getattr(weight, "ds_numel", weight.numel()))


def _time_parts(network: PreTrainedModel, shape: NetworkShape, job: SizingJob) -> Timing | None:
    """Time layers, output matrix and update; None where this machine has too little free memory for that."""
    torch.set_num_threads(job.threads)
    dtype = torch.bfloat16 if job.precision == "bf16" else torch.float32
    layers = min(_TIMED_LAYERS, shape.layers)
    of_layer = sum(weight.numel() for weight in network.base_model.layers[0].parameters())
    head = shape.vocabulary * shape.hidden
    batch, length = _affordable(job, layers * of_layer + head)
    tokens = batch * length
    needed = 12 * (layers * of_layer + head) + 16 * tokens * shape.vocabulary + 12 * _UPDATED_PARAMETERS
    if needed > psutil.virtual_memory().available / 2:
        return None
    whole = job.micro_batch * job.sequence_length / tokens
    return Timing(
        layer=whole * _time_layers(network.config, layers, batch, length, dtype) / layers,
        head=whole * _time_head(shape, tokens, dtype),
        update=_time_update() * 1e6 / _UPDATED_PARAMETERS,
    )


def _affordable(job: SizingJob, parameters: int) -> tuple[int, int]:
    """Return how many sequences of how many tokens are timed: the micro-batch, or what a few seconds allow of it."""
    tokens = max(int(_TIMED_FLOPS / (6 * parameters)), 64)
    length = min(job.sequence_length, tokens)
    return max(1, min(job.micro_batch, tokens // length)), length


def _time_layers(config: PreTrainedConfig, layers: int, batch: int, length: int, dtype: torch.dtype) -> float:
    short = deepcopy(config)
    short.num_hidden_layers, short.vocab_size, short.pad_token_id = layers, 64, None
    if getattr(short, "layer_types", None):
        short.layer_types = short.layer_types[:layers]
    stack = AutoModel.from_config(short, dtype=dtype, attn_implementation="sdpa")
    inputs_BTh = torch.randn(batch, length, config.hidden_size, dtype=dtype, requires_grad=True)  # noqa: N806
    # Two documents a sequence: attention needs the mask that packed sequences need.
    positions_BT = (torch.arange(length) % max(1, length // 2)).expand(batch, length)  # noqa: N806

    def work() -> None:
        outputs = stack(inputs_embeds=inputs_BTh, position_ids=positions_BT, use_cache=False)
        outputs.last_hidden_state.sum().backward()

    return _seconds(work)


def _time_head(shape: NetworkShape, tokens: int, dtype: torch.dtype) -> float:
    # Small, as a network's are: a CPU takes ten times as long over the tiny gradients that large logits give.
    matrix_Vh = (torch.randn(shape.vocabulary, shape.hidden) * 0.02).to(dtype).requires_grad_()  # noqa: N806 - the shape
    hidden_Nh = torch.randn(tokens, shape.hidden, dtype=dtype, requires_grad=True)  # noqa: N806
    labels_N = torch.randint(shape.vocabulary, (tokens,))  # noqa: N806

    def work() -> None:
        logits_NV = torch.nn.functional.linear(hidden_Nh, matrix_Vh)  # noqa: N806
        torch.nn.functional.cross_entropy(logits_NV.float(), labels_N).backward()

    return _seconds(work)


def _time_update() -> float:
    weights = torch.zeros(_UPDATED_PARAMETERS, requires_grad=True)
    weights.grad = torch.randn(_UPDATED_PARAMETERS)
    return _seconds(torch.optim.AdamW([weights], fused=True).step)


def _seconds(work: Callable[[], object]) -> float:
    """Return how long a piece of work takes once it has been done before: the median of several times."""
    work()
    times: list[float] = []
    while len(times) < 2 or sum(times) < _TIMED_SECONDS:
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return median(times)


def main(job_path: Path) -> int:
    """Answer; return 0, or 1 after a refusal."""
    job = SizingJob.model_validate_json(job_path.read_bytes())
    die_with_parent(job.parent_pid)
    return answer(lambda: size(job), ConfigError)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

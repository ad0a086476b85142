"""Any allowed model → `config.json`, bf16 `model.safetensors` and a tokenizer, without running code of the model's."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig, GgufConfig, PreTrainedModel

from forge_pipelines.bases.architecture import reduce_configuration
from forge_pipelines.bases.job import Converted, ImportJob

_LOCAL = {"local_files_only": True, "trust_remote_code": False}
_TOKENIZER_SETTINGS = ("bos_token", "eos_token", "pad_token", "unk_token", "model_max_length")


class NotConvertibleError(Exception):
    """The model cannot be brought in; the message says why."""


def convert(job: ImportJob) -> Converted:
    """Load a model, and write what is published of it.

    Raises:
        NotConvertibleError: it is damaged, of an architecture that is not allowed, or without a usable tokenizer.
    """
    where, options = (job.path.parent, {"gguf_file": job.path.name}) if job.form == "gguf" else (job.path, {})
    network = _load(job, where, options)
    try:
        tokenizer = AutoTokenizer.from_pretrained(where, **options, **_LOCAL)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotConvertibleError(f"its tokenizer cannot be read ({_first_line(error)})") from error
    _check_tokenizer(tokenizer, network)
    _write_network(network, tokenizer, job.output)
    _write_tokenizer(tokenizer, network, job.output)
    form, weights = _describe_weights(job)
    return Converted(
        model_type=network.config.model_type,
        form=form,
        weights=weights,
        parameters=network.num_parameters(),
        vocabulary=network.config.vocab_size,
        window=network.config.max_position_embeddings,
        chat_template=tokenizer.chat_template is not None,
    )


def _load(job: ImportJob, where: Path, options: dict[str, Any]) -> PreTrainedModel:
    if job.form == "gguf":
        # Weights of few bits cannot be trained or saved: they are spread out again.
        options = {**options, "quantization_config": GgufConfig(dequantize=True)}
    else:
        assert job.architecture is not None
        options = {"config": AutoConfig.for_model(**job.architecture), "use_safetensors": True}
    try:
        network, found = AutoModelForCausalLM.from_pretrained(
            where,
            dtype=torch.bfloat16,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **options,
            **_LOCAL,
        )
        reduce_configuration(network.config.to_diff_dict() | {"model_type": network.config.model_type})
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise NotConvertibleError(_first_line(error)) from error
    lacking = sorted(found["missing_keys"]) + sorted(key for key, *_ in found["mismatched_keys"])
    if lacking:
        raise NotConvertibleError(f"its weights lack {', '.join(lacking[:3])}, which its configuration calls for")
    if found["unexpected_keys"]:
        names = ", ".join(sorted(found["unexpected_keys"])[:3])
        raise NotConvertibleError(f"its weights hold {names}, which its configuration has no place for")
    return network


def _check_tokenizer(tokenizer: Any, network: PreTrainedModel) -> None:
    if not getattr(tokenizer, "is_fast", False):
        raise NotConvertibleError("its tokenizer has no tokenizer.json form; convert it with transformers first")
    if tokenizer.eos_token_id is None:
        raise NotConvertibleError("its tokenizer has no token for the end of a text (eos_token)")
    tokens, known = tokenizer.backend_tokenizer.get_vocab_size(with_added_tokens=False), network.config.vocab_size
    if max(tokens - 1, tokenizer.eos_token_id) >= known:
        message = f"its tokenizer has {len(tokenizer)} tokens and its network knows {known}"
        raise NotConvertibleError(f"{message}: they do not belong together")


def _write_network(network: PreTrainedModel, tokenizer: Any, folder: Path) -> None:
    network.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    network.save_pretrained(folder, max_shard_size="1TB")


def _write_tokenizer(tokenizer: Any, network: PreTrainedModel, folder: Path) -> None:
    """Write tokenizer.json, the settings that matter, and the chat template if there is one."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    # Where a GGUF file names no such token, transformers adds its own defaults, which the network has never seen.
    known = [token for token in content["added_tokens"] if token["id"] < network.config.vocab_size]
    invented = {token["content"] for token in content["added_tokens"] if token not in known}
    (folder / "tokenizer.json").write_text(json.dumps({**content, "added_tokens": known}, ensure_ascii=False))
    settings = {name: getattr(tokenizer, name) for name in _TOKENIZER_SETTINGS}
    settings = {name: None if value in invented else value for name, value in settings.items()}
    settings["model_max_length"] = min(tokenizer.model_max_length, network.config.max_position_embeddings)
    settings |= {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    if isinstance(tokenizer.chat_template, str):
        (folder / "chat_template.jinja").write_text(tokenizer.chat_template)


def _describe_weights(job: ImportJob) -> tuple[str, str]:
    if job.form == "safetensors":
        types = {each for path in job.path.glob("*.safetensors") for each in _tensor_types(path)}
        return "safetensors", "as they were, bf16" if types == {"BF16"} else f"rounded to bf16 from {min(types)}"
    from gguf import GGUFReader

    kinds = Counter(tensor.tensor_type.name for tensor in GGUFReader(job.path).tensors)
    kind = kinds.most_common(1)[0][0]
    bits = kind.lstrip("IQ").partition("_")[0] if kind.lstrip("IQ")[:1].isdecimal() else ""
    return f"GGUF {kind}", f"recovered from {bits}-bit weights" if bits else f"recovered from {kind} weights"


def _tensor_types(path: Path) -> set[str]:
    with safe_open(path, framework="pt") as weights:
        return {weights.get_slice(name).get_dtype() for name in weights.keys()}  # noqa: SIM118 - not a mapping


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__

"""Small open models, as their makers would hand them over."""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from forge_pipelines.shards.config import TokenizerConfig
from forge_pipelines.shards.tokenizer import train_tokenizer

TEXTS = [
    f"The {animal} sees {number} boats, and then {number + 1}." for animal in "ape bee cat" for number in range(40)
]
CHAT_TEMPLATE = "{% for message in messages %}<s>{{ message['content'] }}</s>{% endfor %}"


def make_tokenizer() -> Tokenizer:
    """Return a byte-level tokenizer of 300 tokens."""
    return train_tokenizer(iter(TEXTS), TokenizerConfig(vocabulary_size=300))


def hand_over(folder: Path, **sizes: int) -> Path:
    """Write a random Llama with tokenizer and chat template, as transformers saves it, and return its folder."""
    tokenizer = make_tokenizer()
    usual = {
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
    }
    torch.manual_seed(0)
    network = LlamaForCausalLM(LlamaConfig(**{**usual, **sizes}, bos_token_id=1, eos_token_id=2, pad_token_id=0))
    network.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    marks = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    settings = {**marks, "tokenizer_class": "PreTrainedTokenizerFast", "chat_template": CHAT_TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def change_json(path: Path, **values: object) -> None:
    """Set keys of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def write_gguf(folder: Path, path: Path) -> Path:
    """Write a handed-over Llama as a GGUF file of 8-bit weights, as llama.cpp's converter does."""
    from gguf import GGMLQuantizationType, GGUFWriter, TokenType, quants

    network = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config, writer = network.config, GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())["model"]
    tokens = sorted(tokenizer["vocab"], key=tokenizer["vocab"].get)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL] * 3 + [TokenType.NORMAL] * (len(tokens) - 3))
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(0)
    for name, tensor in network.state_dict().items():
        renamed, values = _in_gguf(name), tensor
        if name.endswith(("q_proj.weight", "k_proj.weight")):  # llama.cpp turns the halves of each head into pairs
            heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
            values = tensor.reshape(heads, 2, -1, tensor.shape[1]).swapaxes(1, 2).reshape(tensor.shape)
        if values.dim() == 2:
            packed = quants.quantize(values.numpy(), GGMLQuantizationType.Q8_0)
            writer.add_tensor(renamed, packed, raw_dtype=GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(renamed, values.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _in_gguf(name: str) -> str:
    renamed = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    parts = {
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "post_attention_layernorm": "ffn_norm",
        "input_layernorm": "attn_norm",
        "model.layers": "blk",
    }
    for before, after in {**renamed, **parts}.items():
        name = name.replace(before, after)
    return name

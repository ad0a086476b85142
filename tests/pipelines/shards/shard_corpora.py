"""Corpora of exactly some documents, and bases of which there is only what shards need."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from forge_pipelines.bases.stage import KIND
from forge_pipelines.manifest import Classification, Document, Manifest, Segment, StageRequest, digest, sha256_text
from forge_pipelines.store import Made, Store
from forge_pipelines.tables import documents_writer

MARKS = (
    "<pad>",
    "<s>",
    "</s>",
    "<|im_start|>",
    "<|im_end|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "[INST]",
    "[/INST]",
)

# As their makers publish them: SmolLM2, Meta-Llama-3, Mistral-7B-Instruct-v0.1 (with its check of roles) and Zephyr.
CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + "
    "message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
    "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token + ' ' }}{% else %}"
    "{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)
ZEPHYR = (
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + "
    "eos_token }}\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}"
    "\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"
)
FAMILIES = {"chatml": CHATML, "llama": LLAMA, "mistral": MISTRAL, "zephyr": ZEPHYR}


def document(
    source: str, *said: str | tuple[str, str], kind: Literal["text", "chat", "preference"] = "text"
) -> Document:
    """Return a document of segments: texts, or roles and texts."""
    segments = tuple(Segment("text", each) if isinstance(each, str) else Segment(*each) for each in said)
    sha = sha256_text(digest([[segment.role, segment.text] for segment in segments]))
    sha = sha256_text(segments[0].text) if kind == "text" else sha
    return Document(
        doc_id=sha256_text(source + sha),
        text_sha256=sha,
        parent_id=None,
        kind=kind,
        segments=segments,
        source=source,
        uri=f"{sha[:8]}.txt",
        media_type="text/plain",
        raw_sha256=sha,
        language="en",
        licence="MIT",
        classification="internal",
        owner=None,
        purpose=None,
        retrieved_at=None,
        expires_at=None,
    )


def chat(source: str, *turns: str, system: str | None = None) -> Document:
    """Return a chat in which user and assistant take turns."""
    roles = [("user", "assistant")[number % 2] for number in range(len(turns))]
    before = [("system", system)] if system else []
    return document(source, *before, *zip(roles, turns, strict=True), kind="chat")


def preference(source: str, prompt: str, chosen: str, rejected: str) -> Document:
    """Return a question with a better and a worse answer."""
    return document(source, ("user", prompt), ("chosen", chosen), ("rejected", rejected), kind="preference")


def corpus(store: Store, name: str, documents: Sequence[Document], sources: Sequence[str] = ("books",)) -> Manifest:
    """Publish a corpus of exactly these documents."""

    def make(folder: Path) -> Made:
        with documents_writer(folder / "train.parquet") as writer:
            for row in documents:
                writer.add(row)
        return Made({"train": len(documents)}, Classification.INTERNAL)

    inputs = {source: digest([source, *(row.doc_id for row in documents)]) for source in sources}
    request = StageRequest(kind="validated_corpus", name=name, inputs=inputs, parameters={}, code_version="1")
    return store.obtain(request, make).manifest


def write_tokenizer(folder: Path, template: str | None, *, lowers: bool = False) -> Path:
    """Write a tokenizer in which bytes are tokens, and two line feeds are one, with a chat template.

    Args:
        lowers: texts are lowered before the marks are looked for.
    """
    names = [*MARKS, *sorted(pre_tokenizers.ByteLevel.alphabet()), "ĊĊ"]
    vocabulary = {name: number for number, name in enumerate(names)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [("Ċ", "Ċ")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    if lowers:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.add_special_tokens([AddedToken(mark, special=True, normalized=lowers) for mark in MARKS])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 1024, "unk_token": None}
    settings |= {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    return folder


def base(store: Store, template: str | None, *, lowers: bool = False) -> Manifest:
    """Publish the tokenizer of a base; shards need no more of it."""

    def make(folder: Path) -> Made:
        write_tokenizer(folder, template, lowers=lowers)
        return Made({}, Classification.PUBLIC)

    inputs = {"files": digest([template, lowers])}
    request = StageRequest(kind=KIND, name="open_one", inputs=inputs, parameters={}, code_version="1")
    return store.obtain(request, make).manifest

"""The tokenizer: a byte-level BPE (Sennrich et al., 2016) trained on a model's own documents, or an open model's."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from forge_pipelines.manifest import Value
from forge_pipelines.shards.config import TokenizerConfig

PAD, BOS, EOS = "<pad>", "<s>", "</s>"
DOCUMENT_TOKENS = "document_tokens.json"

_BETWEEN_DOCUMENTS = "<|endoftext|>"
"""What the families whose tokenizer has it put between documents; their bos and eos are then a chat's."""


class DocumentTokens(Value):
    """The ids of the tokens that a document begins and ends with, and of padding."""

    begin: int
    end: int
    pad: int


def read_document_tokens(folder: Path) -> DocumentTokens:
    """Return what documents begin and end with, beside the tokenizer of shards or of a checkpoint."""
    return DocumentTokens.model_validate_json((folder / DOCUMENT_TOKENS).read_bytes())


def train_tokenizer(texts: Iterator[str], config: TokenizerConfig) -> Tokenizer:
    """Learn a vocabulary. Every byte is a token of its own first, so no text is unknown."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocabulary_size,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return tokenizer


def take_tokenizer(base: Path, folder: Path) -> Tokenizer:
    """Copy an open model's tokenizer into a new folder, and return it."""
    folder.mkdir()
    for pattern in ("tokenizer*", "chat_template*"):
        for path in base.glob(pattern):
            shutil.copyfile(path, folder / path.name)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()  # as its maker may have saved it
    tokenizer.no_padding()
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    end = tokenizer.token_to_id(_BETWEEN_DOCUMENTS)
    if end is None:
        end = tokenizer.token_to_id(settings["eos_token"])
        begin = tokenizer.token_to_id(settings["bos_token"]) if settings["bos_token"] else end
    else:
        begin = end
    pad = tokenizer.token_to_id(settings["pad_token"]) if settings["pad_token"] else end
    _write_document_tokens(folder, DocumentTokens(begin=begin, end=end, pad=pad))
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path, sequence_length: int) -> None:
    """Write a tokenizer of our own as transformers reads it (``tokenizer.json``, ``tokenizer_config.json``)."""
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": PAD,
        "model_max_length": sequence_length,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    ids = {name: tokenizer.token_to_id(token) for name, token in (("begin", BOS), ("end", EOS), ("pad", PAD))}
    _write_document_tokens(folder, DocumentTokens.model_validate(ids))


def _write_document_tokens(folder: Path, tokens: DocumentTokens) -> None:
    (folder / DOCUMENT_TOKENS).write_text(tokens.model_dump_json() + "\n")

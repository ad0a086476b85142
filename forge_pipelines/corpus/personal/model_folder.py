"""A site's folder with a token classifier: which files count, what its configuration may say, what is wrong with it.

Nothing here loads the model (`token_classifier.py` does), and nothing but three of its files is ever read.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer

from forge_pipelines.corpus.personal.labels import Tag
from forge_pipelines.errors import ConfigError
from forge_pipelines.manifest import digest
from forge_pipelines.store import hash_file

CONFIGURATION, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
FILES = (CONFIGURATION, WEIGHTS, TOKENIZER)
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_LIBRARIES = ("tokenizers", "torch", "transformers")

ARCHITECTURES: Mapping[str, str] = {
    "albert": "AlbertForTokenClassification",
    "bert": "BertForTokenClassification",
    "camembert": "CamembertForTokenClassification",
    "deberta": "DebertaForTokenClassification",
    "deberta-v2": "DebertaV2ForTokenClassification",
    "distilbert": "DistilBertForTokenClassification",
    "electra": "ElectraForTokenClassification",
    "ernie": "ErnieForTokenClassification",
    "eurobert": "EuroBertForTokenClassification",
    "modernbert": "ModernBertForTokenClassification",
    "mpnet": "MPNetForTokenClassification",
    "openai_privacy_filter": "OpenAIPrivacyFilterForTokenClassification",
    "rembert": "RemBertForTokenClassification",
    "roberta": "RobertaForTokenClassification",
    "xlm-roberta": "XLMRobertaForTokenClassification",
}
"""The values that ``model_type`` may have, and the class of transformers that each stands for."""

_COUNTED_FROM_PADDING = frozenset({"camembert", "mpnet", "roberta", "xlm-roberta"})
_LEAST_POSITIONS = 16
_HEADS = ("classifier.weight", "score.weight")
# Mappings that describe a network. Any other is refused: by mappings a configuration asks for code of its own
# (`auto_map`), quantisation and more.
_MAPPINGS = frozenset({"id2label", "label2id", "rope_parameters", "rope_scaling"})
_WITHOUT_EFFECT = frozenset({"architectures", "attn_implementation", "dtype", "torch_dtype", "transformers_version"})


@dataclass(frozen=True)
class ModelFolder:
    """A folder with a token classifier, which looks sound without having been loaded.

    Attributes:
        architecture: what builds the network: plain values by the keys of its configuration, without labels.
        tags: what each of the network's outputs means.
    """

    path: Path
    architecture: Mapping[str, Any]
    tags: tuple[Tag, ...]

    @property
    def class_name(self) -> str:
        """The class of transformers that the network is of."""
        return ARCHITECTURES[self.architecture["model_type"]]

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels without what says where in an entity a token stands, in order."""
        return tuple(sorted({tag.label for tag in self.tags} - {""}))

    @property
    def num_positions(self) -> int:
        """The most tokens that the network reads at once, special tokens and all."""
        positions: int = self.architecture["max_position_embeddings"]
        if self.architecture["model_type"] in _COUNTED_FROM_PADDING:
            padding = self.architecture.get("pad_token_id")
            return positions - (1 if padding is None else padding) - 1
        return positions

    @property
    def stamp(self) -> tuple[tuple[int, int], ...]:
        """What changes when a file of the folder does: size in bytes and time of change of each."""
        return tuple((each.st_size, each.st_mtime_ns) for each in ((self.path / name).stat() for name in FILES))


def holds_model(folder: Path) -> bool:
    """Tell if a folder is meant to hold a model, sound or not."""
    return any((folder / name).is_file() for name in FILES) or any(_pickles(folder))


def look_at(folder: Path) -> ModelFolder:
    """Look at a folder's files and configuration, in milliseconds.

    Raises:
        ConfigError: a file is missing, the weights are pickles, or the configuration is of no token classifier that is
            allowed, or asks for code of its own.
    """
    _require_files(folder)
    path = folder / CONFIGURATION
    configuration = _read(path)
    fault = _find_fault(configuration)
    if fault:
        raise ConfigError(f"{path} is not allowed: {fault}")
    left_out = _WITHOUT_EFFECT | {"id2label", "label2id", "num_labels"}
    architecture = {key: value for key, value in configuration.items() if key not in left_out and key[0] != "_"}
    model = ModelFolder(folder, architecture, _tags(path, configuration.get("id2label")))
    if model.num_positions < _LEAST_POSITIONS:
        message = f"{path} gives the network {model.num_positions} positions, too few for a sentence"
        raise ConfigError(f"{message}; use a model that reads at least {_LEAST_POSITIONS} tokens at once")
    return model


def hash_model(model: ModelFolder) -> str:
    """Return a SHA-256 of the files that shape what a model finds, and of the versions of the libraries that run it.

    Whole files are read here, so that what is wrong in them is found before the first document is.

    Raises:
        ConfigError: the tokenizer or the weights cannot be read, or do not belong to the configuration.
    """
    _check_weights(model)
    load_tokenizer(model)
    files = {name: hash_file(model.path / name) for name in FILES}
    return digest([files, {library: version(library) for library in _LIBRARIES}])


def load_tokenizer(model: ModelFolder) -> Tokenizer:
    """Return the tokenizer, which takes the names of special tokens in a text for text.

    Raises:
        ConfigError: it cannot be read, or has tokens that the network does not know.
    """
    path = model.path / TOKENIZER
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:
        message = f"{path} cannot be read ({first_line(error)}); save the model's fast tokenizer there anew"
        raise ConfigError(message) from error
    last, known = max(tokenizer.get_vocab().values(), default=-1), model.architecture["vocab_size"]
    if last >= known:
        message = f"{path} has a token {last} and the network knows {known}, so they do not belong together"
        raise ConfigError(f"{message}; put the tokenizer there with which the model was trained")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


def _require_files(folder: Path) -> None:
    for name in FILES:
        if (folder / name).is_file():
            continue
        pickles = sorted(_pickles(folder))
        if name == WEIGHTS and pickles:
            message = f"{folder} holds its weights only as pickles ({pickles[0]}), which run code when they are read"
            raise ConfigError(f"{message}; convert them to {WEIGHTS} where you trust them")
        message = f"{folder} holds a model without {name}"
        raise ConfigError(f"{message}; a token classifier is {', '.join(FILES)}, as save_pretrained writes them")


def _pickles(folder: Path) -> set[str]:
    return {found.name for pattern in _PICKLES for found in folder.glob(pattern)}


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as JSON ({first_line(error)}); save the model there anew") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is no JSON object; save the model there anew")
    return content


def _find_fault(configuration: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a configuration in one sentence, or None."""
    for key, value in configuration.items():
        if not (key in _MAPPINGS or _is_plain(value)):
            return f"{key} is a mapping, by which a model asks for code of its own or for much else; use one without it"
    family, named = str(configuration.get("model_type")), configuration.get("architectures")
    if family not in ARCHITECTURES:
        return f"model_type is {family!r}; it must be one of {', '.join(ARCHITECTURES)}"
    if named != [ARCHITECTURES[family]]:
        return f"architectures is {named!r}; it must be [{ARCHITECTURES[family]!r}], a network that labels tokens"
    numbers = {key: configuration.get(key) for key in ("vocab_size", "max_position_embeddings")}
    numbers["pad_token_id"] = configuration.get("pad_token_id") or 0
    for key, value in numbers.items():
        if not isinstance(value, int):
            return f"{key} is {value!r}; it must be a whole number"
    return None


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(not isinstance(each, list) and _is_plain(each) for each in value)
    return value is None or isinstance(value, bool | int | float | str)


def _tags(path: Path, labels: Any) -> tuple[Tag, ...]:
    written = {str(number): label for number, label in labels.items()} if isinstance(labels, dict) else {}
    numbers = [str(number) for number in range(len(written))]
    if not written or sorted(written) != sorted(numbers) or not all(isinstance(each, str) for each in written.values()):
        message = f"{path}: id2label does not name a label for each output, counted from 0"
        raise ConfigError(f"{message}; write the labels that the model was trained with")
    return tuple(Tag.of(written[number]) for number in numbers)


def _check_weights(model: ModelFolder) -> None:
    path = model.path / WEIGHTS
    try:
        with safe_open(path, framework="numpy") as tensors:
            heads = [name for name in _HEADS if name in tensors.keys()]  # noqa: SIM118 - it is no mapping
            outputs = tensors.get_slice(heads[0]).get_shape()[0] if heads else 0
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{path} cannot be read ({first_line(error)}); copy the model there anew") from error
    if outputs != len(model.tags):
        message = f"{path} has a head of {outputs} labels and {CONFIGURATION} names {len(model.tags)}"
        raise ConfigError(f"{message}; put weights and configuration of one token classifier there")


def first_line(error: Exception) -> str:
    """Return what an error says, without what it adds in further lines."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

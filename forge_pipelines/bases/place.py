"""An open model as it was handed over: which files count, and why some of them are refused unread."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from forge_pipelines.bases.architecture import reduce_configuration
from forge_pipelines.errors import DataError
from forge_pipelines.manifest import FileEntry
from forge_pipelines.store import hash_file

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_TOKENIZER = "tokenizer.json"
_VOCABULARIES = (_TOKENIZER, "vocab.json", "added_tokens.json")
_TEXT = ("*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt")
CODE_KEYS = (
    "auto_map",
    "custom_pipelines",
    "custom_generate",
    "trust_remote_code",
    "use_kernels",
    "kernel_config",
)
"""Keys by which a JSON file of a model names code to be run, or asks that such code be trusted."""
_FLASH = tuple(f"flash_attention_{version}" for version in (2, 3, 4))
_ATTENTION = ("eager", "sdpa", "flex_attention", "paged|eager", *_FLASH)
_IMPLEMENTATIONS: Mapping[str, tuple[str, ...]] = {
    "attn_implementation": _ATTENTION,
    "_attn_implementation": _ATTENTION,
    "_attn_implementation_internal": _ATTENTION,
    "experts_implementation": ("eager", "batched_mm", "grouped_mm"),
}
"""Keys that choose among implementations of transformers' own, which Forge leaves aside; another is code of a hub."""


@dataclass(frozen=True, slots=True)
class Handed:
    """What was handed over, and looks sound without having been loaded.

    Attributes:
        architecture: what builds the network, of a folder; None of a GGUF file, which holds it itself.
    """

    form: Literal["safetensors", "gguf"]
    path: Path
    files: tuple[FileEntry, ...]
    architecture: Mapping[str, Any] | None


def look_at(path: Path) -> Handed:
    """Look at a folder or a GGUF file, and hash what would be read of it.

    Raises:
        DataError: it is no model, holds weights only as pickles, has no tokenizer, asks for code of its own, or is of
            an architecture that is not allowed; the message names the file.
    """
    if path.is_file() and path.suffix.lower() == ".gguf":
        return Handed("gguf", path, (_entry(path, path.name),), None)
    if not path.is_dir():
        raise DataError(f"{path} is neither a folder nor a .gguf file; name what holds the model")
    weights = _weights(path)
    if not (path / _TOKENIZER).is_file():
        raise DataError(f"{path} has no {_TOKENIZER}, so no text can be given to the model; add its tokenizer's files")
    texts = sorted({found for pattern in _TEXT for found in path.glob(pattern)})
    for text in texts:
        if text.suffix == ".json" and text.name not in _VOCABULARIES:
            _refuse_code(text)
    files = tuple(_entry(found, found.name) for found in [*texts, *weights])
    return Handed("safetensors", path, files, _architecture(path / "config.json"))


def _weights(folder: Path) -> list[Path]:
    weights = sorted(folder.glob("*.safetensors"))
    if weights:
        return weights
    pickles = sorted(found.name for pattern in _PICKLES for found in folder.glob(pattern))
    if pickles:
        message = f"{folder} holds its weights only as pickles ({pickles[0]}), which run code when they are read"
        raise DataError(f"{message}; convert them to safetensors where you trust them")
    raise DataError(f"{folder} holds no weights: there is no .safetensors file in it")


def _architecture(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise DataError(f"{path} is missing, so nothing says what network the weights belong to")
    try:
        return reduce_configuration({key: value for key, value in _read(path).items() if key not in _IMPLEMENTATIONS})
    except ValueError as error:
        raise DataError(f"{path} is not allowed: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise DataError(f"{path} is not readable as JSON ({error})") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is not a JSON object")
    return content


def _refuse_code(path: Path) -> None:
    for key, value in _items(_read(path)):
        if key in CODE_KEYS and value is not False:
            raise DataError(f"{path} names code of its own ({key}), which is never run; use a model that needs none")
        own = _IMPLEMENTATIONS.get(key)
        if own and value is not None and value not in own:
            raise DataError(
                f"{path} asks for the implementation {value!r} ({key}), which is none that transformers has itself "
                f"({', '.join(own)}), and code of its own is never run; remove {key}, or use a model that needs none"
            )


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield every key of a JSON value, however deep, with what stands there."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from _items(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _items(inner)


def _entry(path: Path, name: str) -> FileEntry:
    return FileEntry(path=name, num_bytes=path.stat().st_size, sha256=hash_file(path))

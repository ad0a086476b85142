"""Runs a token classifier over texts of any length: the only module here that imports torch, and only to run one.

A process of the engine's loads the classifier when it meets its first text, and gives it one thread, because texts are
shared out among processes. What is found in a text depends on that text alone, not on what is cleaned beside it.

A network of DistilBERT's shape reads about 4,000 characters a second on one core: by far the slowest rule of a corpus.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from tokenizers import Tokenizer

from forge_pipelines.corpus.personal.entities import found_entities, merge_tags
from forge_pipelines.corpus.personal.findings import Found, Kind
from forge_pipelines.corpus.personal.labels import Tag
from forge_pipelines.corpus.personal.model_folder import WEIGHTS, ModelFolder, first_line, load_tokenizer, look_at
from forge_pipelines.errors import ConfigError

_MOST_POSITIONS = 512
_OVERLAP_TOKENS = 64
_BATCH_WINDOWS = 4
_ADVICE = "put weights and configuration of one token classifier there"


@dataclass(frozen=True)
class ClassifiedNames:
    """Finds what a site's token classifier marks.

    Attributes:
        stamp: of the folder's files, see `ModelFolder.stamp`: other files are another classifier.
        kinds: what those labels stand for that are sought.
    """

    folder: Path
    stamp: tuple[tuple[int, int], ...]
    kinds: Mapping[str, Kind]

    def find(self, text: str) -> Sequence[Found]:
        """Return the names and addresses that stand in a text.

        Raises:
            ConfigError: the model cannot be loaded.
        """
        if not text.strip():
            return []
        spans, tags = _loaded(self.folder, self.stamp).tag(text)
        return found_entities(text, merge_tags(text, spans, tags), self.kinds)


@dataclass(frozen=True, slots=True)
class Windows:
    """Stretches of equal length that cover a longer row of tokens, each overlapping the one before it.

    Attributes:
        starts: where each begins.
        size: tokens in each, or all of them where there are no more.
    """

    starts: Sequence[int]
    size: int

    @classmethod
    def over(cls, num_tokens: int, most: int, overlap: int) -> "Windows":
        """Lay windows of at most ``most`` tokens over a row; the last ends with it and may overlap by more."""
        if num_tokens <= most:
            return cls((0,), num_tokens)
        return cls((*range(0, num_tokens - most, most - overlap), num_tokens - most), most)

    def join(self, rows: Sequence[Sequence[int]]) -> list[int]:
        """Return one value for each token of the row: where windows overlap, of the one whose end is farther away.

        Args:
            rows: the values of each window, ``size`` of them.
        """
        joined: list[int] = []
        for start, row in zip(self.starts, rows, strict=True):
            seam = (start + len(joined)) // 2 if joined else 0
            joined[seam:] = row[seam - start :]
        return joined


@dataclass(frozen=True, slots=True)
class _Classifier:
    """A classifier that is loaded.

    Attributes:
        before, after: the special tokens around each window.
    """

    tokenizer: Tokenizer
    network: Any
    tags: Sequence[Tag]
    most_tokens: int
    before: Sequence[int]
    after: Sequence[int]

    def tag(self, text: str) -> tuple[Sequence[tuple[int, int]], Sequence[Tag]]:
        """Return the characters of each token of a text, and its tag."""
        encoding = self.tokenizer.encode(text, add_special_tokens=False)
        ids, spans = encoding.ids, encoding.offsets
        if not ids:
            return [], []
        windows = Windows.over(len(ids), self.most_tokens, min(_OVERLAP_TOKENS, self.most_tokens // 2))
        inputs = [[*self.before, *ids[start : start + windows.size], *self.after] for start in windows.starts]
        rows: list[list[int]] = []
        for first in range(0, len(inputs), _BATCH_WINDOWS):
            rows += self._outputs(inputs[first : first + _BATCH_WINDOWS], windows.size)
        return spans, [self.tags[number] for number in windows.join(rows)]

    def _outputs(self, inputs: Sequence[Sequence[int]], size: int) -> list[list[int]]:
        """Return the likeliest output for each token that is not special."""
        import torch

        with torch.inference_mode(), _one_thread():
            logits_BTL = self.network(input_ids=torch.tensor(inputs)).logits  # noqa: N806 - the shape
        outputs: list[list[int]] = logits_BTL[:, len(self.before) :][:, :size].argmax(-1).tolist()
        return outputs


@lru_cache(maxsize=1)
def _loaded(folder: Path, stamp: tuple[tuple[int, int], ...]) -> _Classifier:  # noqa: ARG001 - told apart by it
    model = look_at(folder)
    tokenizer = load_tokenizer(model)
    probe = tokenizer.encode("a")
    special = probe.special_tokens_mask
    num_before = special.index(0) if 0 in special else len(special)
    num_after = special[::-1].index(0) if 0 in special else 0
    return _Classifier(
        tokenizer,
        _load_network(model),
        model.tags,
        min(model.num_positions, _MOST_POSITIONS) - num_before - num_after,
        probe.ids[:num_before],
        probe.ids[len(special) - num_after :],
    )


def _load_network(model: ModelFolder) -> Any:
    import transformers
    from huggingface_hub.errors import StrictDataclassError
    from safetensors.torch import load_file

    path = model.path / WEIGHTS
    broken = (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        RuntimeError,
        SafetensorError,
        StrictDataclassError,
    )
    labels = {number: f"{number}" for number in range(len(model.tags))}
    try:
        configuration = transformers.AutoConfig.for_model(**model.architecture, id2label=labels)
        # No folder is named, so that no file but the weights is looked for, here or anywhere.
        network, found = getattr(transformers, model.class_name).from_pretrained(
            None,
            config=configuration,
            state_dict=load_file(path),
            dtype="float32",
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except broken as error:
        raise ConfigError(f"{path} cannot be loaded ({first_line(error)}); {_ADVICE}") from error
    lacking = sorted(found["missing_keys"]) + sorted(key for key, *_ in found["mismatched_keys"])
    if lacking:
        raise ConfigError(f"{path} lacks {', '.join(lacking[:3])}, which its configuration calls for; {_ADVICE}")
    return network.eval()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute with one thread: how many there are changes the last bits of sums."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

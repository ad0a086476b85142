"""The stage `tokenized_shards`: corpora and their weights in, packed sequences and their spans out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tokenizers import Tokenizer

from forge_pipelines.bases.stage import ROLE
from forge_pipelines.corpus.reading import read_train, source_fingerprints
from forge_pipelines.errors import ConfigError, DataError
from forge_pipelines.manifest import Classification, Document, Manifest, StageRequest, code_version
from forge_pipelines.progress import OnProgress, Progress, silent
from forge_pipelines.shards.config import CorpusShare, Examples, ShardsConfig
from forge_pipelines.shards.contents import Contents
from forge_pipelines.shards.filling import Filling, open_filling
from forge_pipelines.shards.order import CorpusRange
from forge_pipelines.shards.reading import LAYOUT, REJECTIONS, SPANS, STAGE, TOKENIZER, ShardsLayout
from forge_pipelines.shards.tokenizer import save_tokenizer, take_tokenizer, train_tokenizer
from forge_pipelines.store import Made, Publication, Store
from forge_pipelines.tables import rejections_writer

CODE_VERSION = "3"


def shard(
    name: str,
    corpora: Mapping[str, Manifest],
    config: ShardsConfig,
    store: Store,
    on_progress: OnProgress = silent,
    base: Manifest | None = None,
    examples: Examples = "texts",
) -> Publication:
    """Turn the corpora's training documents into token ids: packed sequences, or pairs of answers.

    Args:
        name: the model's name.
        corpora: manifests of the corpora that ``config`` names, by name.
        base: the open model whose tokenizer and chat template are used; without one, a tokenizer is trained on the
            documents.
        examples: what is learned from. Chats and preferences are written in the base's chat template; documents of
            another kind are rejected.

    Raises:
        ConfigError: chats or preferences are learned from, and there is no base with a chat template.
        DataError: a source contributes no trainable token and is not listed as optional; or a corpus is damaged.
    """
    if base is None and examples != "texts":
        raise ConfigError(f"{name} learns from {examples}, which a base's chat template writes; name it as `base`")
    libraries = ("tokenizers",) if examples == "texts" else ("tokenizers", "jinja2")
    request = StageRequest(
        kind=STAGE,
        name=name,
        inputs={
            **{f"corpus:{share.corpus}": corpora[share.corpus].fingerprint for share in config.shares},
            **({f"{ROLE}{base.name}": base.fingerprint} if base else {}),
        },
        parameters={
            **config.model_dump(mode="json", exclude={"tokenizer"} if base else set()),
            "examples": examples,
        },
        code_version=code_version(CODE_VERSION, *libraries),
    )
    return store.obtain(request, _Sharding(name, corpora, config, store, on_progress, base, examples))


@dataclass(frozen=True, slots=True)
class _Sharding:
    """One making of shards at work; see `shard`."""

    name: str
    corpora: Mapping[str, Manifest]
    config: ShardsConfig
    store: Store
    on_progress: OnProgress
    base: Manifest | None
    examples: Examples

    def __call__(self, folder: Path) -> Made:
        opened = {share.corpus: self.store.open(self.corpora[share.corpus]) for share in self.config.shares}
        tokenizer = self._tokenizer(folder, opened)
        contents = self._fill(folder, opened, tokenizer)
        self._refuse_empty_sources(contents)
        made_from = (*self.corpora.values(), *([self.base] if self.base else []))
        return Made(
            counts={
                **contents.counts(),
                "vocabulary": tokenizer.get_vocab_size(),
                "sequence_length": self.config.sequence_length,
            },
            classification=Classification.strictest(each.classification for each in made_from),
        )

    def _tokenizer(self, folder: Path, opened: Mapping[str, Path]) -> Tokenizer:
        if self.base:
            return take_tokenizer(self.store.open(self.base), folder / TOKENIZER)
        size = self.config.tokenizer.vocabulary_size
        self.on_progress(Progress(f"{self.name}: learning a vocabulary of {size} tokens"))
        texts = (document.text for corpus in opened.values() for document in read_train(corpus))
        tokenizer = train_tokenizer(texts, self.config.tokenizer)
        save_tokenizer(tokenizer, folder / TOKENIZER, self.config.sequence_length)
        return tokenizer

    def _fill(self, folder: Path, opened: Mapping[str, Path], tokenizer: Tokenizer) -> Contents:
        length, base = self.config.sequence_length, self.base.name if self.base else None
        with (
            rejections_writer(folder / REJECTIONS) as rejections,
            open_filling(self.examples, folder, tokenizer, length, base) as filling,
        ):
            contents = Contents(rejections)
            for share in self.config.shares:
                self._add_corpus(share, opened[share.corpus], filling, contents)
        filling.rows.write_spans(folder / SPANS)
        contents.write(folder)
        layout = ShardsLayout(examples=self.examples, sequence_length=length)
        (folder / LAYOUT).write_text(layout.model_dump_json() + "\n")
        return contents

    def _add_corpus(self, share: CorpusShare, folder: Path, filling: Filling, contents: Contents) -> None:
        first = filling.rows.num_sequences
        total = sum(int(self.corpora[share.corpus].counts["train"]) for share in self.config.shares)
        for batch in _batches(read_train(folder), filling.at_once):
            for outcome in filling.add(len(contents.documents), batch):
                contents.add(share.corpus, outcome)
            self.on_progress(Progress(f"{self.name}: packing", contents.num_seen, total, "documents"))
        filling.end_corpus()
        if filling.rows.num_sequences == first:
            why = contents.why_not(corpus=share.corpus)
            advice = "mend that, or name another corpus" if why else "look at what it rejected"
            raise DataError(f"corpus {share.corpus} gives {self.name} no trainable token{why}; {advice}")
        contents.corpora.append(
            CorpusRange(
                corpus=share.corpus,
                fingerprint=self.corpora[share.corpus].fingerprint,
                weight=share.weight,
                first_sequence=first,
                num_sequences=filling.rows.num_sequences - first,
            )
        )

    def _refuse_empty_sources(self, contents: Contents) -> None:
        labels = contents.labels_by_source()
        sources = {source for corpus in self.corpora.values() for source in source_fingerprints(corpus)}
        empty = sorted(source for source in sources - set(self.config.optional_sources) if not labels.get(source))
        if empty:
            why = contents.why_not(source=empty[0])
            advice = "mend that" if why else "look at what its corpus rejected"
            raise DataError(
                f"source {empty[0]} contributes no trainable token to {self.name}{why}; {advice}, or list it under "
                "shards.optional_sources"
            )


def _batches(documents: Iterator[Document], size: int) -> Iterator[list[Document]]:
    while batch := list(islice(documents, size)):
        yield batch

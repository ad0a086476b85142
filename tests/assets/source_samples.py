"""Small sources and a corpus, made by the stages themselves in the store of an installation."""

import json
import zipfile
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from forge_assets.resources import forge_resources
from forge_assets.settings import Settings
from forge_pipelines.bases.stage import KIND as BASE
from forge_pipelines.corpus.config import CorpusConfig
from forge_pipelines.corpus.reading import TRAIN
from forge_pipelines.corpus.stage import validate
from forge_pipelines.manifest import Classification, Manifest, StageRequest
from forge_pipelines.shards.config import ShardsConfig, TokenizerConfig
from forge_pipelines.shards.stage import shard
from forge_pipelines.shards.tokenizer import train_tokenizer
from forge_pipelines.sources.assembly import DOCUMENTS
from forge_pipelines.sources.config import SourceConfig
from forge_pipelines.sources.stage import read_source
from forge_pipelines.store import Made, Store
from forge_pipelines.tables import documents_writer, read_documents

LABELS = {"licence": "CC0-1.0", "classification": "internal"}
HALL = "The pump stands in the hall, at the door to the yard. It is switched on with the green button."


def store_of(settings: Settings) -> Store:
    return forge_resources(settings)["forge_store"].open()


def mail() -> bytes:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "hall@works.example", "yard@works.example", "The seal"
    message.set_content("Please read what the fitter has written about the seal of the second machine.\n")
    message.add_attachment("The seal is worn and must be changed before the winter.\n", filename="fitter.txt")
    return message.as_bytes()


def read(folder: Path, name: str, settings: Settings) -> Manifest:
    """A source of all files of a folder."""
    place = {"path": str(folder), "include": ["**"]}
    config = SourceConfig.model_validate({"name": name, "folder": place, "labels": LABELS})
    return read_source(config, store_of(settings)).manifest


def handbook(folder: Path, settings: Settings) -> Manifest:
    """A source of six files: texts, an archive with a mail in it, and three that are rejected by two rules."""
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/pump.md").write_text(f"# Pumps\n\n{HALL}\n\nThe PUMP is greased once a week.\n")
    (folder / "strange.txt").write_text("A bell \x07, a colour \x1b[31m and a turn \u202e stand in this\ttext.\n")
    with zipfile.ZipFile(folder / "post.zip", "w") as archive:
        archive.writestr("in/seal.eml", mail())
    (folder / "empty.txt").write_bytes(b"")
    (folder / "void.txt").write_bytes(b"")
    (folder / "program.txt").write_bytes(b"\x7fELF\0\0")
    return read(folder, "handbook", settings)


def chats(folder: Path, settings: Settings) -> Manifest:
    """A source of one file of two chats."""
    folder.mkdir()
    said = [("user", "Where does the pump stand?"), ("assistant", "In the hall, at the door to the yard.")]
    asked: list[dict[str, Any]] = [{"role": role, "content": text} for role, text in said]
    rows = [{"messages": asked}, {"messages": [{**asked[0], "content": "Who greases it?"}, asked[1]]}]
    (folder / "chats.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    place = {"path": str(folder), "include": ["*.jsonl"], "kind": "chat"}
    config = SourceConfig.model_validate({"name": "helpdesk", "records": place, "labels": LABELS})
    return read_source(config, store_of(settings)).manifest


def books(folder: Path, settings: Settings) -> Manifest:
    """A corpus of twenty pages that are much alike, some of them held out, and a page that is too short."""
    folder.mkdir()
    for number in range(20):
        (folder / f"{number:02}.txt").write_text(f"Page {number}. {HALL} " * 3)
    (folder / "stub.txt").write_text("Too short.")
    pages = read(folder, "pages", settings)
    alike = {"near_duplicates": {"enabled": False}}
    corpus = {"name": "books", "sources": ["pages"], "split": {"heldout_fraction": 0.3}, **alike}
    return validate(CorpusConfig.model_validate(corpus), [pages], store_of(settings)).manifest


def assistant(folder: Path, settings: Settings) -> Manifest:
    """Shards of a model that learns from a corpus of two chats and a text."""
    store = store_of(settings)
    (folder / "notes").mkdir(parents=True)
    (folder / "notes/hall.txt").write_text(HALL)
    sources = [chats(folder / "chats", settings), read(folder / "notes", "notes", settings)]

    def make_corpus(staging: Path) -> Made:
        with documents_writer(staging / TRAIN) as writer:
            for source in sources:
                for document in read_documents(store.open(source) / DOCUMENTS):
                    writer.add(document)
        return Made({"train": 3}, Classification.INTERNAL)

    def make_base(staging: Path) -> Made:
        train_tokenizer(iter([HALL]), TokenizerConfig(vocabulary_size=300)).save(str(staging / "tokenizer.json"))
        marks = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
        (staging / "tokenizer_config.json").write_text(json.dumps(marks))
        (staging / "chat_template.jinja").write_text("{% for m in messages %}<s>{{ m.content }}</s>{% endfor %}")
        return Made({}, Classification.PUBLIC)

    def publish(kind: str, name: str, inputs: dict[str, str], make: Callable[[Path], Made]) -> Manifest:
        request = StageRequest(kind=kind, name=name, inputs=inputs, parameters={}, code_version="1")
        return store.obtain(request, make).manifest

    corpus = publish("validated_corpus", "talk", {each.name: each.fingerprint for each in sources}, make_corpus)
    base = publish(BASE, "open_one", {}, make_base)
    shares = {"corpora": [{"corpus": "talk"}], "sequence_length": 128, "optional_sources": ["notes"]}
    config = ShardsConfig.model_validate(shares)
    return shard("clerk", {"talk": corpus}, config, store, base=base, examples="chats").manifest

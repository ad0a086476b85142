"""Documents of about 4 kB, as many as are wanted, each different: sentences of real prose, put together anew."""

import random
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from near_copies.documents import documents

from forge_pipelines.manifest import Classification, Document, Manifest, Segment, StageRequest, sha256_text
from forge_pipelines.store import Made, Store
from forge_pipelines.tables import documents_writer

CHARACTERS = 4000
SOURCE = "documents"

_NUM_REAL = 1600
_SENTENCE_CHARACTERS = (40, 300)
_LEAST_WORDS = 7
_SENTENCES_PER_PARAGRAPH = 5
_SENTENCE = re.compile(r"[A-Z][^.!?{}|<>]+[.!?](?=\s)")
_SEED = 7
_RAW_DOCUMENTS = "raw_documents"


def texts(characters: int = CHARACTERS) -> Iterator[str]:
    """Yield different texts of about so many characters, without end; the same at every call."""
    sentences = _sentences()
    number = round(characters * len(sentences) / sum(map(len, sentences)))
    dice = random.Random(_SEED)
    for place in count():
        drawn = dice.choices(sentences, k=number)
        paragraphs = (
            " ".join(drawn[start : start + _SENTENCES_PER_PARAGRAPH])
            for start in range(0, number, _SENTENCES_PER_PARAGRAPH)
        )
        yield f"Text {place} of the estate\n\n" + "\n\n".join(paragraphs)


def write_files(folder: Path, number: int) -> list[Path]:
    """Write so many texts, a thousand to a folder."""
    paths = [folder / f"{each // 1000:03}" / f"{each:06}.txt" for each in range(number)]
    for path, text in zip(paths, texts(), strict=False):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return paths


def publish(store: Store, num_bytes: int) -> Manifest:
    """Publish texts as a source, until they have so many bytes; no more than a batch of them is in memory."""
    request = StageRequest(
        kind=_RAW_DOCUMENTS, name=SOURCE, inputs={}, parameters={"bytes": num_bytes}, code_version="measured"
    )

    def make(folder: Path) -> Made:
        written = number = 0
        with documents_writer(folder / "documents.parquet") as documents_file:
            for number, text in enumerate(texts(), 1):
                documents_file.add(_document(number, text))
                written += len(text.encode())
                if written >= num_bytes:
                    break
        return Made({"documents": number, "bytes": written, "expiring": 0}, Classification.PUBLIC)

    return store.obtain(request, make).manifest


def _document(number: int, text: str) -> Document:
    content_hash, uri = sha256_text(text), f"{number:07}.txt"
    return Document(
        doc_id=sha256_text(f"{SOURCE}\n{uri}\n{text}"),
        text_sha256=content_hash,
        parent_id=None,
        kind="text",
        segments=(Segment("text", text),),
        source=SOURCE,
        uri=uri,
        media_type="text/plain",
        raw_sha256=content_hash,
        language="en",
        licence="LicenseRef-as-installed",
        classification="public",
        owner=None,
        purpose=None,
        retrieved_at="2026-01-01T00:00:00+00:00",
        expires_at=None,
    )


def _sentences() -> list[str]:
    """Return the different sentences of the prose that `near_copies` searches, blanks made one."""
    prose = (each.text for each in documents(_NUM_REAL) if each.original is None)
    found = (" ".join(sentence.split()) for text in prose for sentence in _SENTENCE.findall(text))
    least, most = _SENTENCE_CHARACTERS
    wanted = (each for each in found if least <= len(each) <= most and len(each.split()) >= _LEAST_WORDS)
    return list(dict.fromkeys(wanted))

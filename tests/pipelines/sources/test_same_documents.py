"""The promise of all places: the same documents are the same, wherever they stand."""

import random
from collections.abc import Callable, Mapping
from pathlib import Path

import psycopg2
import pytest
from pydantic import SecretStr

from forge_pipelines.corpus.config import Split
from forge_pipelines.corpus.split import part_of
from forge_pipelines.ledger.postgres import postgres
from forge_pipelines.manifest import Document, Manifest, Rejection
from forge_pipelines.sources.config import Labels, SourceConfig
from forge_pipelines.sources.connections import Connection, no_connections
from forge_pipelines.sources.places.config import FolderPlace, ObjectStorePlace, SqlPlace
from forge_pipelines.sources.stage import read_source
from forge_pipelines.store import Store

Contents = Callable[[Manifest], tuple[dict[str, Document], dict[str, Rejection]]]
_WORDS = (
    "pump",
    "hall",
    "oil",
    "grease",
    "seal",
    "shaft",
    "cloth",
    "card",
    "fitter",
    "week",
    "door",
    "Öl",
    "naïve",
    "泵",
)


@pytest.fixture(scope="module")
def texts() -> Mapping[str, str]:
    """Two hundred texts, by their paths in three folders."""
    draw = random.Random(7)
    return {
        f"{number % 3}/{number:03}.txt": "\n\n".join(" ".join(draw.choices(_WORDS, k=30)) for _ in range(3)) + "\n"
        for number in range(200)
    }


@pytest.fixture
def labels() -> Labels:
    return Labels.model_validate({"licence": "CC0-1.0", "classification": "internal"})


@pytest.fixture
def in_a_folder(texts: Mapping[str, str], labels: Labels, tmp_path: Path) -> SourceConfig:
    for path, text in texts.items():
        file = tmp_path / "documents" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return SourceConfig(name="handbook", folder=FolderPlace(path=str(tmp_path / "documents")), labels=labels)


@pytest.fixture
def in_an_object_store(texts: Mapping[str, str], labels: Labels, s3_address: str) -> SourceConfig:
    """On the server that this process's environment names."""
    import boto3

    bucket, _, prefix = s3_address.removeprefix("s3://").partition("/")
    client = boto3.session.Session().client("s3")  # the default session keeps the keys of an earlier test
    for path, text in texts.items():
        client.put_object(Bucket=bucket, Key=f"{prefix}/{path}", Body=text.encode())
    return SourceConfig(name="handbook", object_store=ObjectStorePlace(url=s3_address), labels=labels)


def known(manifest: Manifest, contents: Contents) -> set[str]:
    documents, rejected = contents(manifest)
    assert not rejected
    hashes = {document.text_sha256 for document in documents.values()}
    assert len(hashes) == 200
    return hashes


def held_out(hashes: set[str]) -> set[str]:
    return {text_sha256 for text_sha256 in hashes if part_of(text_sha256, Split(heldout_fraction=0.2)) == "heldout"}


def test_the_same_documents_in_a_folder_and_in_an_object_store_are_the_same_and_split_the_same(
    in_a_folder: SourceConfig, in_an_object_store: SourceConfig, store: Store, contents: Contents
) -> None:
    of_folder = read_source(in_a_folder, store, connections=no_connections)
    of_objects = read_source(in_an_object_store, store, connections=no_connections)
    folder, objects = known(of_folder.manifest, contents), known(of_objects.manifest, contents)
    assert folder == objects
    assert held_out(folder) == held_out(objects)
    assert 0 < len(held_out(folder)) < 200
    assert of_objects.manifest.fingerprint == of_folder.manifest.fingerprint
    assert not of_objects.fresh


def test_the_same_documents_in_a_folder_and_in_a_database_are_the_same_and_split_the_same(
    in_a_folder: SourceConfig,
    texts: Mapping[str, str],
    labels: Labels,
    store: Store,
    contents: Contents,
    tmp_path: Path,
) -> None:
    with postgres(tmp_path / "home", None) as databases:
        session = psycopg2.connect(databases.forge)
        with session, session.cursor() as cursor:
            cursor.execute("CREATE TABLE articles (id text PRIMARY KEY, body text)")
            cursor.executemany("INSERT INTO articles VALUES (%s, %s)", list(texts.items()))
        session.close()
        place = SqlPlace(connection="crm", table="articles", text="{body}")
        config = SourceConfig(name="crm", sql=place, labels=labels)
        of_rows = read_source(config, store, connections=lambda _: Connection(url=SecretStr(databases.forge)))
    folder = known(read_source(in_a_folder, store, connections=no_connections).manifest, contents)
    rows = known(of_rows.manifest, contents)
    assert folder == rows
    assert held_out(folder) == held_out(rows)

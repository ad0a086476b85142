"""What a person can get wrong: one clear sentence, nothing published, exit code not 0."""

import socket
from collections.abc import Callable

import pytest
from company import Company

from forge_pipelines.store import Store


def refused(company: Company, *sentences: str, **variables: str) -> str:
    """Run the chain, and hold that it fails with one sentence which says all this."""
    result = company.forge("run", "clerk", **variables)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    said = result.stderr.strip()
    for sentence in sentences:
        assert sentence in said, said
    return said


def published(company: Company) -> list[str]:
    store = Store(str(company.home / "store"), company.home / "scratch")
    return [f"{manifest.name}/{manifest.kind}" for manifest in store.manifests()]


def edit(company: Company, file: str, old: str, new: str) -> None:
    path = company.defs(f"{file}/defs.yaml")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_an_empty_source_folder(found: Callable[[], Company]) -> None:
    company = found()
    for path in company.documents.iterdir():
        path.unlink()
    refused(company, "post", "nothing in", "matches")
    assert published(company) == []


def test_a_missing_source_folder(found: Callable[[], Company]) -> None:
    company = found()
    refused(company, "/nowhere", ACME_DOCUMENTS="/nowhere")
    assert published(company) == []


def test_a_corpus_in_which_every_document_is_rejected(found: Callable[[], Company]) -> None:
    company = found()
    edit(company, "letters", "min_characters: 20", "min_characters: 100000")
    refused(company, "letters", "length")
    assert published(company) == ["post/raw_documents"]


@pytest.mark.parametrize(
    ("file", "old", "new", "sentence"),
    [
        ("clerk", "steps: 40", "steps: 40\n    stepz: 40", "stepz"),
        ("clerk", "steps: 40", "steps: many", "steps"),
        ("letters", "sources: [post]", "sources: [male]", "unknown source male; there are post"),
        ("clerk", "corpus: letters", "corpus: leters", "unknown corpus leters; there are letters"),
        ("clerk", "bits_per_character < base", "brilliance < base", "brilliance"),
        ("clerk", "model_type: mistral", "model_type: mistral\n      auto_map: {}", "auto_map"),
    ],
)
def test_a_wrong_yaml_names_the_file_and_what_is_wrong(
    found: Callable[[], Company], file: str, old: str, new: str, sentence: str
) -> None:
    company = found()
    edit(company, file, old, new)
    refused(company, f"{file}/defs.yaml", sentence)
    assert published(company) == []


def test_postgres_that_cannot_be_reached(found: Callable[[], Company]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    company = found()
    said = refused(company, f"127.0.0.1:{port}", FORGE_POSTGRES_URL=f"postgresql://u:secret@127.0.0.1:{port}/postgres")
    assert "secret" not in said


def test_an_unknown_name_lists_what_there_is(found: Callable[[], Company]) -> None:
    result = found().forge("run", "clark")
    assert result.returncode == 1
    assert "nothing is named clark" in result.stderr
    assert "clerk" in result.stderr

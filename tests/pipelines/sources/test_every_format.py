"""One folder of every format becomes its texts, and one of everything hostile becomes refusals: the whole stage."""

from collections.abc import Callable
from pathlib import Path

import pytest
from format_samples import EVERY_FORMAT, HOSTILE

from forge_pipelines.manifest import Document, Manifest, Rejection
from forge_pipelines.sources.config import SourceConfig
from forge_pipelines.sources.places.config import FolderPlace
from forge_pipelines.sources.stage import read_source
from forge_pipelines.store import Store

Configure = Callable[..., SourceConfig]
Contents = Callable[[Manifest], tuple[dict[str, Document], dict[str, Rejection]]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "everything"
    path.mkdir()
    return path


def at(config: SourceConfig, folder: Path) -> SourceConfig:
    return config.model_copy(update={"folder": FolderPlace(path=str(folder))})


def test_every_format_becomes_its_text_and_nothing_else(
    folder: Path, configure: Configure, store: Store, contents: Contents
) -> None:
    expected = {}
    for name, (content, said) in EVERY_FORMAT.items():
        (folder / name).write_bytes(content)
        expected |= {name: said} if isinstance(said, str) else {name + path: text for path, text in said.items()}
    kept, rejected = contents(read_source(at(configure(), folder), store).manifest)
    assert rejected == {}
    assert {uri: row.text for uri, row in kept.items()} == expected
    assert kept["letter.eml!/plan.pdf"].parent_id == kept["letter.eml"].doc_id
    languages = {uri: kept[uri].language for uri in ("german.html", "russian.html", "japanese.html", "cyrillic.txt")}
    assert languages == {"german.html": "de", "russian.html": "ru", "japanese.html": "ja", "cyrillic.txt": "ru"}


def test_everything_hostile_is_a_refusal_with_its_rule_and_sentence(
    folder: Path, configure: Configure, store: Store, contents: Contents
) -> None:
    (folder / "good.txt").write_text("One good file.")
    for place, (content, _, _) in HOSTILE.items():
        (folder / place.partition("!/")[0]).write_bytes(content)
    kept, rejected = contents(read_source(at(configure(), folder), store).manifest)
    assert set(kept) <= {"good.txt", "locked.zip!/good.txt"}
    assert {place: row.rule for place, row in rejected.items() if place in HOSTILE} == {
        place: rule for place, (_, rule, _) in HOSTILE.items()
    }
    for place, (_, _, sentence) in HOSTILE.items():
        assert rejected[place].reason.startswith(sentence), place
        assert "\n" not in rejected[place].reason

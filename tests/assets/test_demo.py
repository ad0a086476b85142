"""What the demonstration fetches is what was pinned, or nothing is taken from it."""

import gzip
import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from forge_assets import demo
from forge_assets.demo import Wheel, fetch, write_articles
from forge_pipelines.errors import DataError, PlatformError
from forge_pipelines.progress import silent

ARTICLES = [{"id": "doc_1", "title": "Opening an account", "content": "Ask for a name."}]


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheel:
    """A small package of articles that lies in the folder ``wheels``, pinned."""
    path = tmp_path / "wheels" / "inspect_evals-1-py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(demo._ARTICLES_FILE, gzip.compress(json.dumps(ARTICLES).encode()))
    pinned = Wheel("inspect-evals", "1", hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setattr(demo, "ARTICLES", pinned)
    return pinned


def test_without_a_network_the_sentence_says_what_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    sentence = r"no-such-package==1, .*cannot be downloaded.*put no_such_package-1-py3-none-any\.whl into .*/wheels"
    with pytest.raises(PlatformError, match=sentence):
        fetch(Wheel("no-such-package", "1", "0" * 64), tmp_path / "wheels", tmp_path / "log")
    assert not list((tmp_path / "wheels").iterdir())


def test_a_package_that_is_not_the_pinned_one_is_refused_and_nothing_written(wheel: Wheel, tmp_path: Path) -> None:
    with (tmp_path / "wheels" / wheel.filename).open("ab") as file:
        file.write(b"!")
    with pytest.raises(DataError, match=r"inspect_evals-1.*its SHA-256 differs.*remove it"):
        write_articles(tmp_path, tmp_path / "wheels", tmp_path / "log", silent)
    assert not (tmp_path / "demo").exists()


def test_articles_are_written_once_and_changes_to_them_stay(wheel: Wheel, tmp_path: Path) -> None:
    folder = write_articles(tmp_path, tmp_path / "wheels", tmp_path / "log", silent)
    assert (folder / "doc_1.md").read_text() == "# Opening an account\n\nAsk for a name.\n"
    (folder / "doc_1.md").write_text("changed")
    (tmp_path / "wheels" / wheel.filename).unlink()
    assert write_articles(tmp_path, tmp_path / "wheels", tmp_path / "log", silent) == folder
    assert [path.read_text() for path in folder.iterdir()] == ["changed"]

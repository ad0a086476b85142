"""Real text in Debian's packages: the installation guide in many languages, the FAQ, and PostgreSQL's manual.

The guide's languages are translated from one source, so that nearly all pages have the same paragraphs in each.
"""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

MOST_UNTRANSLATED = 0.1
"""Share of the characters of a page in another language that may be English."""

GUIDE, FAQ, MANUAL = "installation-guide-amd64", "debian-faq", "postgresql-doc-15"
CACHE = Path(os.environ.get("FORGE_CACHE") or "~/.cache/forge-benchmarks").expanduser()

_BLOCKS = ("p", "h1", "h2", "h3", "h4", "pre", "dt")


@cache
def pages(language: str) -> dict[str, list[str]]:
    """Return the guide's pages in a language, by their names: each is its paragraphs, without line ends in them."""
    files = sorted((_unpacked(GUIDE) / GUIDE / language).glob("*.html"))
    return {file.stem: _blocks(file, _BLOCKS) for file in files}


def is_translated(name: str, language: str) -> bool:
    """Tell whether a page has as many paragraphs as the English one, and next to none that is still English."""
    english, page = pages("en").get(name, []), pages(language).get(name, [])
    untranslated = sum(len(paragraph) for paragraph in page if paragraph in english)
    return 0 < len(page) == len(english) and untranslated <= MOST_UNTRANSLATED * sum(map(len, page))


def faq_paragraphs() -> list[str]:
    """Return the paragraphs of the English FAQ, each once."""
    files = sorted((_unpacked(FAQ) / "debian/FAQ").glob("*.en.html"))
    return list(dict.fromkeys(text for file in files for text in _blocks(file, ("p",))))


def manual_pages() -> list[list[str]]:
    """Return the pages of PostgreSQL's manual as paragraphs."""
    return [_blocks(file, _BLOCKS) for file in sorted(_unpacked(MANUAL).rglob("*.html")) if not file.is_symlink()]


def _blocks(file: Path, tags: tuple[str, ...]) -> list[str]:
    from lxml import html  # type: ignore[import-untyped]

    tree = html.document_fromstring(file.read_bytes(), parser=html.HTMLParser(encoding="utf-8"))
    texts = (" ".join(block.text_content().split()) for block in tree.iter(*tags))
    return [text for text in texts if text]


def _unpacked(package: str) -> Path:
    """Return where a package's documentation stands; it is fetched once."""
    folder = CACHE / package
    if not folder.is_dir():
        _fetch(package, folder)
    return folder / "usr/share/doc"


def _fetch(package: str, folder: Path) -> None:
    advice = "run it on Debian 12, where apt-get and dpkg-deb are, after apt-get update"
    downloads = CACHE / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    if shutil.which("apt-get") is not None and shutil.which("dpkg-deb") is not None:
        subprocess.run(["apt-get", "download", "-qq", package], cwd=downloads, stderr=subprocess.DEVNULL, check=False)
    archives = sorted(downloads.glob(f"{package}_*.deb"))
    if not archives:
        sys.exit(f"planted corpus: it reads Debian's package {package}, which cannot be fetched; {advice}")
    part = folder.with_suffix(".part")
    subprocess.run(["dpkg-deb", "-x", archives[-1], part], check=True)
    part.rename(folder)

"""What is read: real HTML and PDF files of Debian's documentation, fetched once, and larger estates made of them."""

import hashlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import count, cycle, islice
from pathlib import Path

import pypdfium2

HTML_FILES = 2000
PDF_FILES = 50
HTML_PACKAGES = ("python3.11-doc", "postgresql-doc-15", "sqlite3-doc")
"""The first two have 1,699 pages between them; the third gives the rest."""

PDF_PACKAGES = ("r-doc-pdf", "pari-doc", "texlive-latex-recommended-doc")
PART_OF_ANOTHER = "refman.pdf"
"""R's reference manual stands in `fullrefman.pdf` once more."""

CACHE = Path(os.environ.get("FORGE_CACHE") or "~/.cache/forge-benchmarks").expanduser()
HTML_SHARE = 0.1
"""Of a large estate's bytes; the rest is text."""

_TEXT_CHARACTERS = (20_000, 200_000)
_PROSE_FILES = 4
_SEED = 4
_SMALL_TEXT = "# Note {0}\n\nThe file number {0} of many that are never changed: it holds a few words.\n"


def html_files() -> list[Path]:
    """Return the first files of the packages, in their order."""
    found = (path for package in HTML_PACKAGES for path in _distinct(_unpacked(package), "*.html"))
    return list(islice(found, HTML_FILES))


def pdf_files() -> list[Path]:
    """Return the largest files of the packages."""
    found = (path for package in PDF_PACKAGES for path in _distinct(_unpacked(package), "*.pdf"))
    manuals = [path for path in found if path.name != PART_OF_ANOTHER]
    return sorted(manuals, key=lambda path: path.stat().st_size)[-PDF_FILES:]


def copy(files: list[Path], folder: Path) -> Path:
    """Copy files into a folder, as they stood in the cache."""
    for file in files:
        target = folder / file.relative_to(CACHE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    return folder


def change(folder: Path, share: float, turn: int) -> int:
    """Write a further paragraph into some of a folder's pages, a share of all its files; return how many."""
    pages = sorted(folder.rglob("*.html"))
    number = max(round(share * sum(path.is_file() for path in folder.rglob("*"))), 1)
    step = len(pages) // number
    for page in pages[turn::step][:number]:
        content = page.read_bytes()
        page.write_bytes(content.replace(b"</body>", b"<p>Paragraph %d was written later.</p></body>" % turn))
    return number


def small_texts(folder: Path, number: int) -> list[Path]:
    """Write so many short texts, a thousand to a folder."""
    return [_write(folder, each, ".md", _SMALL_TEXT.format(each).encode()) for each in range(number)]


def large_estate(folder: Path, num_bytes: int) -> list[Path]:
    """Write texts of 20 to 200 kB, and pages, each of them different, until they have so many bytes."""
    pages, texts = _numbered_pages(), _numbered_texts()
    files: list[Path] = []
    written = written_html = 0
    while written < num_bytes:
        is_page = written_html <= HTML_SHARE * written
        content = next(pages if is_page else texts)
        files.append(_write(folder, len(files), ".html" if is_page else ".md", content))
        written += len(content)
        written_html += len(content) if is_page else 0
    return files


def _write(folder: Path, number: int, suffix: str, content: bytes) -> Path:
    path = folder / f"{number // 1000:03}" / f"{number:06}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _numbered_pages() -> Iterator[bytes]:
    for number, page in enumerate(cycle(html_files())):
        yield page.read_bytes().replace(b"</body>", b"<p>Copy %d.</p></body>" % number)


def _numbered_texts() -> Iterator[bytes]:
    prose = _prose()
    dice = random.Random(_SEED)
    for number in count():
        start = dice.randrange(len(prose) - _TEXT_CHARACTERS[1])
        yield f"# Text {number}\n\n{prose[start : start + dice.randint(*_TEXT_CHARACTERS)]}".encode()


def _prose() -> str:
    """Return the text of some manuals."""
    texts = []
    for file in pdf_files()[-_PROSE_FILES:]:
        with pypdfium2.PdfDocument(file) as document:
            texts += [page.get_textpage().get_text_range().replace("\r\n", "\n") for page in document]
    return "\n\n".join(texts)


def _distinct(folder: Path, pattern: str) -> Iterator[Path]:
    seen: set[bytes] = set()
    for path in sorted(folder.rglob(pattern)):
        if path.is_file() and not path.is_symlink():
            digest = hashlib.sha256(path.read_bytes()).digest()
            if digest not in seen:
                seen.add(digest)
                yield path


def _unpacked(package: str) -> Path:
    folder = CACHE / package
    if not folder.is_dir():
        _fetch(package, folder)
    return folder


def _fetch(package: str, folder: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        sys.exit(
            f"bench-sources: it reads Debian's package {package}; run it on Debian 12, where apt-get and dpkg-deb are"
        )
    downloads = CACHE / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    result = subprocess.run(
        ["apt-get", "download", "-qq", package], cwd=downloads, capture_output=True, text=True, check=False
    )
    archives = sorted(downloads.glob(f"{package}_*.deb"))
    if not archives:
        said = (result.stderr.strip().splitlines() or ["it says nothing"])[-1]
        sys.exit(f"bench-sources: apt-get cannot download {package} ({said}); run apt-get update first, on Debian 12")
    part = folder.with_suffix(".part")
    subprocess.run(["dpkg-deb", "-x", archives[-1], part], check=True)
    part.rename(folder)

"""`python once.py bare|forge FOLDER STORE CORES`: reads a folder once, on so many cores, and prints what it took.

The clock begins when either begins to work: both load their libraries within it.
"""

import json
import os
import re
import resource
import sys
import time
from pathlib import Path

from forge_pipelines.sources.config import SourceConfig
from forge_pipelines.sources.stage import read_source
from forge_pipelines.store import Store

_XML_DECLARATION = re.compile(r"\s*<\?xml[^>]{0,200}\?>")


def bare(folder: Path) -> int:
    """Call the libraries in a loop; return how many documents they gave."""
    import py3langid
    import pypdfium2
    import trafilatura

    number = 0
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.suffix == ".pdf":
            with pypdfium2.PdfDocument(content) as document:
                text = "\n\n".join(_page_text(page) for page in document)
        else:
            text = trafilatura.extract(
                _tree(content), output_format="markdown", include_formatting=True, include_comments=False
            )
        if text:
            py3langid.classify(text[:2000])
            number += 1
    return number


def _tree(content: bytes) -> object:
    from charset_normalizer import from_bytes
    from lxml import html  # type: ignore[import-untyped]

    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = str(from_bytes(content).best())
    parser = html.HTMLParser(remove_comments=True, remove_pis=True)
    return html.document_fromstring(_XML_DECLARATION.sub("", text, count=1), parser=parser, ensure_head_body=True)


def _page_text(page: object) -> str:
    text_page = page.get_textpage()
    text: str = text_page.get_text_range()
    text_page.close()
    page.close()
    return text


def forge(folder: Path, store: Path) -> int:
    """Read the folder as a source; return how many documents it has."""
    config = SourceConfig.model_validate(
        {
            "name": "measured",
            "folder": {"path": str(folder), "include": ["**/*"]},
            "labels": {"licence": "PSF-2.0", "classification": "public"},
        }
    )
    publication = read_source(config, Store(str(store / "published"), store / "scratch"))
    return int(publication.manifest.counts["documents"])


def main(mode: str, folder: Path, store: Path, num_cores: int) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:num_cores])
    started = time.monotonic()
    documents = bare(folder) if mode == "bare" else forge(folder, store)
    seconds = time.monotonic() - started
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu_seconds = sum(each.ru_utime + each.ru_stime for each in used)
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "documents": documents}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))

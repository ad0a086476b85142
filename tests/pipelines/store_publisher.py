"""A small stage to publish; run as a program it publishes one request after the other, each when it is told to."""

import sys
from pathlib import Path

from forge_pipelines.manifest import Classification, StageRequest
from forge_pipelines.store import Made, Store

FILES = ("a.txt", "part/b.txt", "part/c.txt")


def request_of(number: int = 0) -> StageRequest:
    return StageRequest(
        kind="raw_documents", name="handbook", inputs={}, parameters={"number": number}, code_version="1"
    )


class Make:
    """Writes the same content into three files, and counts how often it was asked to."""

    def __init__(self, content: str = "text") -> None:
        self.content = content
        self.calls = 0

    def __call__(self, folder: Path) -> Made:
        self.calls += 1
        (folder / "part").mkdir()
        for name in FILES:
            (folder / name).write_text(self.content * 5000)
        return Made({"files": len(FILES)}, Classification.INTERNAL)


def main(address: str, scratch: str, rounds: int, who: str) -> None:
    """Publish ``rounds`` requests; what an even one holds is the same whoever makes it."""
    store = Store(address, Path(scratch))
    for number in range(rounds):
        _say("ready")
        sys.stdin.readline()
        publication = store.obtain(request_of(number), Make(who if number % 2 else "both"))
        _say(f"{publication.fresh} {publication.manifest.fingerprint}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])

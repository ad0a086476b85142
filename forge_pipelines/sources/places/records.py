"""Data sets in a folder of this machine as a place: files of any size, which are read where they stand."""

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from forge_pipelines.sources.place import Item, Refusal
from forge_pipelines.sources.places.config import RecordsPlace
from forge_pipelines.sources.places.folder import Folder


class Records(Folder):
    """The files of a folder that hold records.

    Raises:
        ConfigError: there is no such folder, or it cannot be read.
    """

    def __init__(self, config: RecordsPlace) -> None:
        super().__init__(config.path, config, None, "records.path")

    def fetch(self, items: Sequence[Item]) -> Iterator[bytes | Path | Refusal]:
        """See `Place.fetch`: where each file stands; a refusal where there is no longer one that can be read."""
        for item in items:
            try:
                yield self._whereabouts(item)
            except OSError as error:
                yield Refusal("unreadable", f"cannot be read: {error.strerror}")

    def _whereabouts(self, item: Item) -> Path | Refusal:
        path = self.local(item)
        # A pipe may have taken the file's place: without O_NONBLOCK it would hold us for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        os.close(descriptor)
        return path if is_file else Refusal("changed", "is no longer a file; it is read again at the next run")

"""Whether what some sources hold has changed and has come to rest: quick looks, and full listings when they differ."""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from forge_pipelines.errors import DataError
from forge_pipelines.manifest import Manifest, Value, digest
from forge_pipelines.sources.config import SourceConfig
from forge_pipelines.sources.place import Place
from forge_pipelines.sources.stage import stamps_of
from forge_pipelines.sources.survey import Fingerprint, told_apart
from forge_pipelines.store import Store

Watched = tuple[SourceConfig, Place]
"""A source, and the place that it is opened at."""


class Watch(Value):
    """What is remembered of some sources from one look to the next.

    Attributes:
        glance: what they looked like last, see `glance`.
        since: since when they have looked like that, in seconds since the epoch.
        listing: fingerprint of their contents when they were last found at rest; empty before.
        listed: the glance at which ``listing`` was made; empty before.
    """

    glance: str = ""
    since: float = 0.0
    listing: str = ""
    listed: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """What a look found: what to remember, whether new contents have come to rest, and a sentence that says it."""

    watch: Watch
    changed: bool
    sentence: str


def glance(sources: Iterable[Watched]) -> str:
    """Return a fingerprint of the paths and stamps of what the sources hold; what has a stamp is not opened.

    Raises:
        ConfigError: a place does not exist or cannot be entered.
        DataError: a place holds nothing for its source; it may be a disk that is not mounted.
        PlatformError: a place does not answer.
    """
    seen = hashlib.sha256()
    for source, place in sources:
        num_items = 0
        for item in place.items():
            refused = item.refusal.reason if item.refusal else ""
            seen.update(json.dumps([source.name, item.path, item.stamp, refused]).encode())
            seen.update(hashlib.sha256(item.content or b"").digest())
            num_items += 1
        if not num_items:
            raise DataError(f"source {source.name}: nothing in {place.address} {place.wanted}; is it mounted?")
    return seen.hexdigest()


def listing(sources: Iterable[Watched], store: Store) -> str:
    """Return a fingerprint of the contents of what the sources hold; what has changed since it was read is fetched.

    Raises:
        ConfigError, DataError, PlatformError: see `glance`.
    """
    found: dict[str, str] = {}
    for source, place in sources:
        fingerprint = Fingerprint()
        for told in told_apart(place, stamps_of(source, store, place), lambda _: True):
            fingerprint.add(told.item.path, told.seen, told.refusal)
        found[source.name] = fingerprint.hexdigest()
    return _together(found)


def listing_read(manifests: Iterable[Manifest]) -> str:
    """Return what `listing` was for sources when their `raw_documents` were made."""
    return _together({manifest.name: manifest.inputs["listing"] for manifest in manifests})


def look(
    sources: Sequence[Watched], watch: Watch, settle_seconds: float, store: Store, now: float | None = None
) -> Look:
    """Look at some sources once more. Their contents are new once, when two looks so far apart found the same files.

    Args:
        sources: what is watched.
        watch: what the look before this one remembered; `Watch()` at the first.
        settle_seconds: for how long the files must have stayed as they are.
        store: where the sources are published, and what they hold is remembered.
        now: the time, in seconds since the epoch.

    Raises:
        ConfigError, DataError, PlatformError: see `glance`; what was remembered stays true.
    """
    now = time.time() if now is None else now
    seen = glance(sources)
    if seen == watch.listed:
        return Look(watch.model_copy(update={"glance": seen}), False, "no document has changed")
    if seen != watch.glance:
        return _wait(watch, seen, now, settle_seconds)
    rested = now - watch.since
    if rested < settle_seconds:
        return Look(watch, False, f"documents changed {rested:.0f} s ago; they are left {settle_seconds:g} s to settle")
    found = listing(sources, store)
    if (after := glance(sources)) != seen:
        return _wait(watch, after, now, settle_seconds)
    settled = watch.model_copy(update={"listing": found, "listed": seen})
    if found == watch.listing:
        return Look(settled, False, "files were touched; no document has changed since the sources were last read")
    return Look(settled, True, f"the documents have changed and have been still for {rested:.0f} s")


def _wait(watch: Watch, seen: str, now: float, settle_seconds: float) -> Look:
    changing = watch.model_copy(update={"glance": seen, "since": now})
    return Look(changing, False, f"documents are changing; they are taken when still for {settle_seconds:g} s")


def _together(listings: Mapping[str, str]) -> str:
    return digest(dict(listings))

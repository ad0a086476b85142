"""The store's garbage: found, and removed so that a kill at any moment leaves nothing half there."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from forge_pipelines.errors import PlatformError
from forge_pipelines.manifest import Manifest
from forge_pipelines.places import Remnant
from forge_pipelines.registry.tracking import Tracking
from forge_pipelines.registry.versions import Standing, retire, standing_versions
from forge_pipelines.store import Store
from forge_pipelines.upkeep.rules import REGISTERED, Claims, Plan, plan
from forge_pipelines.upkeep.scratch import Scrap, discard, stale_copies, unfinished_work


@dataclass(frozen=True, slots=True)
class Running:
    """What runs in progress make: the names of sources, corpora and models, and when the first of them began."""

    names: frozenset[str] = frozenset()
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Garbage:
    """All that may go: of the store, of killed publications and removals, and of the local scratch folder."""

    plan: Plan
    remnants: tuple[Remnant, ...]
    scraps: tuple[Scrap, ...]

    @property
    def parts(self) -> tuple[Manifest | Remnant | Scrap, ...]:
        """All that has a size."""
        return (*self.plan.going, *self.remnants, *self.scraps)

    @property
    def num_bytes(self) -> int:
        """What its removal frees, in bytes."""
        return sum(part.num_bytes for part in self.parts)


WhatRuns = Callable[[], Running]
OnRemoved = Callable[[Manifest | Standing | Remnant | Scrap], None]


def find_garbage(
    store: Store, tracking: Tracking, what_runs: WhatRuns, *, keep_versions: int, keep_days: float
) -> Garbage:
    """Find what may go, and remove nothing.

    Args:
        store: the store.
        tracking: MLflow, whose aliases and last versions stay.
        what_runs: asked for the runs in progress; nothing of their names goes, and nothing since the first began.
        keep_versions: how many of the last versions of each model stay.
        keep_days: what is younger stays.

    Raises:
        DataError: a manifest is damaged, so that nobody knows what it was made from; or an experiment was deleted.
        PlatformError: the store or MLflow cannot be reached.
    """
    running = what_runs()
    before = datetime.now(UTC) - timedelta(days=keep_days)
    young_since = min(before, running.since or before)
    manifests = list(store.manifests())
    models = {manifest.name for manifest in manifests if manifest.kind == REGISTERED}
    claims = Claims(
        versions=standing_versions(tracking),
        keep_versions=keep_versions,
        young_since=young_since,
        latest=store.pointers({f"{manifest.name}/{manifest.kind}" for manifest in manifests}),
        experiments={model: tracking.experiment(model).identity for model in models},
        busy=running.names,
    )
    found = plan(manifests, claims)
    return Garbage(
        plan=found,
        remnants=tuple(_idle(store.remnants(), young_since, running.names)),
        scraps=tuple(_scraps(store, found, young_since, running.names)),
    )


def remove_garbage(
    garbage: Garbage, store: Store, tracking: Tracking, what_runs: WhatRuns, on_removed: OnRemoved
) -> None:
    """Remove what was found: a version's registration, then its version in MLflow, then the rest, downstream first.

    Raises:
        DataError: an alias was given to a version meanwhile; it stays, and what comes after it too.
        PlatformError: a run that began meanwhile may need what is left; or the store or MLflow cannot be reached.
    """
    for manifest in garbage.plan.going:
        if manifest.name in what_runs().names:
            raise PlatformError(_wanted(manifest))
        version = garbage.plan.retiring.get(manifest.fingerprint)
        if version and retire(tracking, version, f"its weights were removed from {store.address} by `forge gc`"):
            on_removed(version)
        if store.remove(manifest):
            on_removed(manifest)
        elif manifest in store.manifests(manifest.name, manifest.kind):
            raise PlatformError(_wanted(manifest))
    for remnant in garbage.remnants:
        if remnant.name not in what_runs().names:
            store.clear(remnant)
            on_removed(remnant)
    for scrap in garbage.scraps:
        if scrap.name not in what_runs().names and discard(scrap):
            on_removed(scrap)


def _wanted(manifest: Manifest) -> str:
    title = f"{manifest.name}/{manifest.kind} {manifest.fingerprint[:12]}"
    return f"{title} was asked for meanwhile: it stays, and what was not removed yet; run `forge gc` again later"


def _idle(remnants: Iterator[Remnant], before: datetime, busy: Collection[str]) -> Iterator[Remnant]:
    return (remnant for remnant in remnants if remnant.touched_at < before and remnant.name not in busy)


def _scraps(store: Store, found: Plan, before: datetime, busy: Collection[str]) -> Iterator[Scrap]:
    scraps = (*unfinished_work(store, before), *stale_copies(store, found.staying.keys(), before))
    return (scrap for scrap in scraps if scrap.name not in busy)

"""Which manifests stay, each with its reason, and which go. Plain functions over manifests: no input or output here."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from graphlib import TopologicalSorter

from forge_pipelines.bases.stage import KIND as BASE
from forge_pipelines.manifest import Manifest
from forge_pipelines.registry.versions import Standing

REGISTERED = "registered_model"


class Reason(StrEnum):
    """Why something stays; where several hold, the first of them is told."""

    ALIAS = "an alias names it"
    VERSION = "one of the last versions"
    ELSEWHERE = "registered in another MLflow"
    LATEST = "the latest of its stage"
    BASE = "an open model that was brought in"
    BUSY = "a run in progress may need it"
    YOUNG = "young"
    UPSTREAM = "what stays was made from it"
    REPORT = "the registration of a report that stays"


@dataclass(frozen=True, slots=True)
class Claims:
    """All that is said of what must stay.

    Attributes:
        versions: what stands in the registry.
        keep_versions: how many of the last versions of each model stay.
        young_since: what was made later stays.
        latest: the key that was last asked for of each ``<name>/<kind>``.
        experiments: by model, the identity of its experiment in the registry that ``versions`` tells of.
        busy: names of sources, corpora and models that a run in progress makes.
    """

    versions: Sequence[Standing]
    keep_versions: int
    young_since: datetime
    latest: Mapping[str, str]
    experiments: Mapping[str, str] = field(default_factory=dict)
    busy: Collection[str] = ()

    def aliased(self) -> set[str]:
        """Return the reports of the versions that an alias names."""
        return {version.report for version in self.versions if version.aliases}

    def last(self) -> set[str]:
        """Return the reports of the last versions of each model."""
        numbers: dict[str, list[int]] = {}
        for version in self.versions:
            numbers.setdefault(version.model, []).append(version.number)
        kept = {model: sorted(known, reverse=True)[: self.keep_versions] for model, known in numbers.items()}
        return {version.report for version in self.versions if version.number in kept[version.model]}


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes, in the order in which it may go, and why the rest stays.

    Attributes:
        going: downstream first, so that at any moment whatever stands has all that it was made from.
        retiring: the versions whose reports go, by the fingerprint of the report.
        staying: the reason of each manifest that stays, by its fingerprint.
    """

    going: tuple[Manifest, ...]
    retiring: Mapping[str, Standing]
    staying: Mapping[str, Reason]


def plan(manifests: Collection[Manifest], claims: Claims) -> Plan:
    """Divide all manifests of a store into those that stay and those that go.

    What is claimed stays with all that it was made from, transitively, told by the fingerprints of its inputs.
    """
    by_fingerprint = {manifest.fingerprint: manifest for manifest in manifests}
    staying = _claimed(manifests, claims)
    for fingerprint in list(staying):
        for upstream in _upstream(fingerprint, by_fingerprint):
            staying.setdefault(upstream, Reason.UPSTREAM)
    for manifest in manifests:
        if manifest.kind == REGISTERED and manifest.inputs["report"] in staying:
            staying.setdefault(manifest.fingerprint, Reason.REPORT)
    going = _downstream_first([manifest for manifest in manifests if manifest.fingerprint not in staying])
    gone = {manifest.fingerprint for manifest in going}
    return Plan(going, {version.report: version for version in claims.versions if version.report in gone}, staying)


def _claimed(manifests: Collection[Manifest], claims: Claims) -> dict[str, Reason]:
    aliased, last = claims.aliased(), claims.last()

    def reasons(manifest: Manifest) -> Iterator[Reason]:
        registered = manifest.kind == REGISTERED
        report = manifest.inputs["report"] if registered else manifest.fingerprint
        if report in aliased:
            yield Reason.ALIAS
        if report in last:
            yield Reason.VERSION
        if registered and manifest.inputs["mlflow"] != claims.experiments.get(manifest.name):
            yield Reason.ELSEWHERE
        if claims.latest.get(f"{manifest.name}/{manifest.kind}") == manifest.key:
            yield Reason.LATEST
        if manifest.kind == BASE:
            yield Reason.BASE
        if manifest.name in claims.busy:
            yield Reason.BUSY
        if datetime.fromisoformat(manifest.created_at) > claims.young_since:
            yield Reason.YOUNG

    found = {manifest.fingerprint: next(reasons(manifest), None) for manifest in manifests}
    return {fingerprint: reason for fingerprint, reason in found.items() if reason is not None}


def _upstream(fingerprint: str, by_fingerprint: Mapping[str, Manifest]) -> Iterator[str]:
    waiting, seen = [fingerprint], {fingerprint}
    while waiting:
        found = (set(by_fingerprint[waiting.pop()].inputs.values()) & by_fingerprint.keys()) - seen
        waiting += found
        seen |= found
        yield from found


def _downstream_first(manifests: Collection[Manifest]) -> tuple[Manifest, ...]:
    by_fingerprint = {manifest.fingerprint: manifest for manifest in manifests}
    order: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(by_fingerprint, ()))
    for manifest in manifests:
        for upstream in set(manifest.inputs.values()) & by_fingerprint.keys():
            order.add(upstream, manifest.fingerprint)
    return tuple(by_fingerprint[fingerprint] for fingerprint in order.static_order())

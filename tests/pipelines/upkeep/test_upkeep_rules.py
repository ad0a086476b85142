"""What stays in the store and why, told from manifests alone."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from forge_pipelines.manifest import Classification, Manifest
from forge_pipelines.registry.versions import Standing
from forge_pipelines.upkeep.rules import Claims, Plan, Reason, plan

NOW = datetime(2026, 6, 1, tzinfo=UTC)
OLD = NOW - timedelta(days=30)


def made(
    name: str, kind: str, number: int, inputs: Mapping[str, str] | None = None, created_at: datetime = OLD
) -> Manifest:
    fingerprint = f"{name}/{kind}/{number}"
    return Manifest(
        kind=kind,
        name=name,
        key=str(number),
        fingerprint=fingerprint,
        inputs=inputs or {},
        parameters={},
        code_version="1",
        files=(),
        counts={},
        classification=Classification.PUBLIC,
        measured={},
        created_at=created_at.isoformat(),
        made_in_seconds=1.0,
    )


def version(number: int, created_at: datetime = OLD) -> list[Manifest]:
    """The chain of one version of `tiny`, made from source and corpus of the same number."""
    source = made("notes", "raw_documents", number, created_at=created_at)
    corpus = made("prose", "validated_corpus", number, {"notes": source.fingerprint}, created_at)
    shards = made("tiny", "tokenized_shards", number, {"corpus:prose": corpus.fingerprint}, created_at)
    checkpoint = made("tiny", "trained_checkpoint", number, {"shards": shards.fingerprint}, created_at)
    report = made("tiny", "evaluation_report", number, {"checkpoint": checkpoint.fingerprint}, created_at)
    registered = made("tiny", "registered_model", number, {"report": report.fingerprint, "mlflow": "here"}, created_at)
    return [source, corpus, shards, checkpoint, report, registered]


def divide(manifests: list[Manifest], **claims: Any) -> Plan:
    standing = [Standing("tiny", number, f"tiny/evaluation_report/{number}") for number in range(1, 6)]
    known = {"versions": standing, "keep_versions": 2, "young_since": NOW, "latest": {}}
    return plan(manifests, Claims(**{**known, "experiments": {"tiny": "here"}, **claims}))


def numbers(found: Plan) -> set[str]:
    return {manifest.key for manifest in found.going}


CHAINS = [manifest for number in range(1, 6) for manifest in version(number)]


def test_the_last_versions_stay_with_all_that_they_were_made_from() -> None:
    found = divide(CHAINS)
    assert numbers(found) == {"1", "2", "3"}
    assert len(found.going) == 18
    assert {standing.number for standing in found.retiring.values()} == {1, 2, 3}


def test_what_goes_goes_downstream_first() -> None:
    place = {manifest.fingerprint: index for index, manifest in enumerate(divide(CHAINS).going)}
    for manifest in CHAINS:
        for upstream in manifest.inputs.values():
            if upstream in place:
                assert place[manifest.fingerprint] < place[upstream]


def test_what_an_alias_names_stays_however_old() -> None:
    champion = Standing("tiny", 1, "tiny/evaluation_report/1", ("champion",))
    versions = [champion, *(Standing("tiny", n, f"tiny/evaluation_report/{n}") for n in range(2, 6))]
    found = divide(CHAINS, versions=versions)
    assert numbers(found) == {"2", "3"}
    assert found.staying["tiny/evaluation_report/1"] == Reason.ALIAS
    assert found.staying["notes/raw_documents/1"] == Reason.UPSTREAM


def test_the_latest_stays_with_all_that_it_was_made_from() -> None:
    assert numbers(divide(CHAINS, latest={"tiny/trained_checkpoint": "2"})) == {"1", "2", "3"}
    found = divide(CHAINS, latest={"tiny/trained_checkpoint": "2"})
    assert {manifest.kind for manifest in found.going if manifest.key == "2"} == {
        "evaluation_report",
        "registered_model",
    }


def test_what_is_young_or_of_a_run_in_progress_stays() -> None:
    young = version(6, created_at=NOW + timedelta(hours=1))
    assert "6" not in numbers(divide([*CHAINS, *young]))
    assert divide(CHAINS, busy={"tiny"}).going == ()


def test_a_base_stays_and_so_does_what_another_mlflow_registered() -> None:
    base = made("smol", "base_model", 0)
    assert divide([base]).staying == {base.fingerprint: Reason.BASE}
    assert divide(CHAINS, experiments={"tiny": "another"}).going == ()


def test_what_two_versions_share_stays_for_the_one_that_stays() -> None:
    *_, report, registered = version(1)
    shared = made("tiny", "evaluation_report", 5, {"checkpoint": "tiny/trained_checkpoint/1"})
    found = divide([*version(1)[:4], report, registered, shared])
    assert found.going == (registered, report)


def test_a_report_that_was_never_registered_goes() -> None:
    refused = made("tiny", "evaluation_report", 7)
    assert divide([refused]).going == (refused,)

"""`forge gc` on an installation of its own: it shows first, removes when told to, and leaves running work alone."""

from pathlib import Path

import dagster as dg
import pytest

from forge_assets.cli.gc import collect_garbage, in_units
from forge_assets.cli.verify import verify_store
from forge_assets.instance import dagster_instance
from forge_assets.settings import Settings
from forge_pipelines.manifest import Classification, StageRequest
from forge_pipelines.store import Made, Store


@dg.asset(key=["handbook", "raw_documents"])
def raw_documents() -> None: ...


def publish(store: Store, number: int) -> None:
    def make(folder: Path) -> Made:
        (folder / "documents.txt").write_text("text" * 500)
        return Made({}, Classification.INTERNAL)

    parameters = {"number": number}
    store.obtain(
        StageRequest(kind="raw_documents", name="handbook", inputs={}, parameters=parameters, code_version="1"), make
    )


def test_it_shows_first_removes_when_told_to_and_leaves_running_work_alone(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(settings.store, tmp_path / "scratch")
    for number in range(4):
        publish(store, number)
    assert collect_garbage(settings, keep_versions=3, keep_days=7, yes=True) == 0
    assert "stays    3: young" in capsys.readouterr().out

    assert collect_garbage(settings, keep_versions=3, keep_days=0, yes=False) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split() for line in shown[:3]] == [
        ["goes", "number", "size"],
        ["handbook/raw_documents", "3", "6", "kB"],
        ["together", "6", "kB"],
    ]
    assert shown[3:] == ["stays    1: the latest of its stage", "nothing was removed; `forge gc --yes` removes it"]
    assert len(list(store.manifests())) == 4

    with dagster_instance(settings) as instance:
        job = dg.Definitions([raw_documents]).resolve_implicit_global_asset_job_def()
        run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        collect_garbage(settings, keep_versions=3, keep_days=0, yes=True)
        assert "stays    3: a run in progress may need it" in capsys.readouterr().out
        instance.report_run_failed(run)

        collect_garbage(settings, keep_versions=3, keep_days=0, yes=True)
    assert f"removed 3 parts from {store.address}: 6 kB freed" in capsys.readouterr().out
    assert verify_store(None, settings) == 0
    assert capsys.readouterr().out == f"1 published stages verified in {store.address}, 0 damaged\n"


def test_sizes_are_written_as_people_read_them() -> None:
    assert [in_units(size) for size in (0, 999, 6000, 1.5e9, 2e13)] == ["0 B", "999 B", "6 kB", "1.5 GB", "20.0 TB"]

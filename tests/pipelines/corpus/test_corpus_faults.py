"""Whatever ends a run, the next one's corpus is that of a run that nothing disturbed, and nothing is left behind."""

import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from corpus_runs import PATIENCE_SECONDS, End, Run, corpus, make, source, step_of, write_documents

from forge_pipelines.corpus.config import CorpusConfig
from forge_pipelines.errors import PlatformError
from forge_pipelines.progress import Progress
from forge_pipelines.sources.stage import read_source
from forge_pipelines.store import Store

SOAK = "FORGE_SOAK" in os.environ
ROUNDS = 50 if SOAK else 1
TABLE: list[str] = []
HEADINGS = "killed    | after s | in step                 | ended  | left over | next run"
LOST_WORKER = End(error="PlatformError", sentence="a process that worked on documents ended by SIGKILL; run it again")


def files_of(store: Store) -> frozenset[str]:
    """The files that stand in a store, whether published or not; its empty guard does not count."""
    root = Path(store.address)
    files = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    return frozenset(files - {".staging/guard"})


@dataclass(frozen=True, slots=True)
class Site:
    """A source, and what a run that nothing disturbs makes of it.

    Attributes:
        steps: the steps that it reports, in their order, each with how many workers it had at most.
        files: what then stands in the store.
        seconds: from its first report to its end.
    """

    folder: Path
    config: CorpusConfig
    fingerprint: str
    steps: dict[str, int]
    files: frozenset[str]
    seconds: float

    def begin(self, folder: Path) -> Store:
        """Return a store of its own in which only the source is published."""
        shutil.copytree(self.folder / "store", folder / "store")
        return Store(str(folder / "store"), folder / "scratch")

    def hold_nothing(self, store: Store) -> None:
        """Assert that only the source is published."""
        assert [manifest.kind for manifest in store.manifests()] == ["raw_documents"]

    def hold_next(self, store: Store) -> None:
        """Assert that the next run makes what an undisturbed one makes, and that the store then holds nothing else."""
        assert make(self.config, store).fingerprint == self.fingerprint
        assert debris(store, self) == []


def debris(store: Store, site: Site, others: frozenset[str] = frozenset()) -> list[str]:
    """What stands in a store, and where it works, that a run which nothing disturbs does not leave there."""
    strange = [f"{path} in the store" for path in sorted(files_of(store) ^ (site.files | others))]
    halves = [f"{path.name} in the memory" for path in store.work.rglob("*.part")]
    return [*strange, *halves, *(str(damage) for _, damage in store.audit() if damage)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    write_documents(folder / "documents")
    read_source(source(folder / "documents"), Store(str(folder / "store"), folder / "source-scratch"))
    shutil.copytree(folder / "store", folder / "clean")
    store, config = Store(str(folder / "clean"), folder / "clean-scratch"), corpus(folder)
    steps: Counter[str] = Counter()
    moments: list[float] = []
    run = Run(config, store)
    for step in run.reports():
        moments.append(time.monotonic())
        steps[step] = max(steps[step], len(run.workers()))
    seconds = time.monotonic() - moments[0]
    assert run.exit_code() == 0
    yield Site(folder, config, run.end.fingerprint, dict(steps), files_of(store), seconds)
    if SOAK:
        sys.stdout.write("\n".join(["", HEADINGS, *TABLE, ""]))


def stop_at(run: Run, step: str) -> None:
    assert step in run.reports()


def left_over(run: Run) -> int:
    """How many processes of a run that has ended are left after ten seconds at most."""
    end = time.monotonic() + 10
    while (left := len(run.descendants())) and time.monotonic() < end:
        time.sleep(0.02)
    return left


def test_a_run_tells_its_steps_and_some_of_them_have_workers(site: Site) -> None:
    assert len(site.steps) >= 4 and sum(num_workers == 2 for num_workers in site.steps.values()) >= 2


def test_a_run_that_is_killed_in_any_step_leaves_nothing_and_the_next_is_a_clean_one(
    site: Site, tmp_path: Path
) -> None:
    for number, step in enumerate(site.steps):
        store = site.begin(tmp_path / str(number))
        run = Run(site.config, store)
        stop_at(run, step)
        run.kill()
        assert (run.exit_code(), left_over(run)) == (-9, 0), step
        site.hold_nothing(store)
        site.hold_next(store)


def test_a_worker_that_is_killed_in_any_step_ends_the_run_with_a_sentence_and_the_next_is_a_clean_one(
    site: Site, tmp_path: Path
) -> None:
    for step in (step for step, num_workers in site.steps.items() if num_workers):
        store = site.begin(tmp_path / step)
        run = Run(site.config, store)
        stop_at(run, step)
        run.workers()[0].kill()
        run.go_on()
        assert [*run.reports()].count("writing") == 0
        assert (run.exit_code(), run.end, left_over(run)) == (1, LOST_WORKER, 0), step
        site.hold_nothing(store)
        site.hold_next(store)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_kill_at_any_moment_changes_nothing_of_what_the_next_run_makes(
    site: Site, tmp_path: Path, number: int
) -> None:
    draw = random.Random(number)
    store, moment, is_worker = site.begin(tmp_path), draw.uniform(0, site.seconds), draw.random() < 0.5
    run = Run(site.config, store)
    first = next(iter(site.steps))
    stop_at(run, first)
    run.go_on()
    step = run_until(run, time.monotonic() + moment) or first
    victims = run.workers() if is_worker else []
    if victims:
        draw.choice(victims).kill()
    else:
        run.kill()
    run_until(run, None)
    exit_code, left = run.exit_code(), left_over(run)
    made = [manifest.fingerprint for manifest in store.manifests("books")]
    again = make(site.config, store).fingerprint
    who = "worker" if victims else "parent"
    said = ["a clean run's" if again == site.fingerprint else "ANOTHER", *debris(store, site)]
    TABLE.append(f"{who:9} | {moment:7.2f} | {step:23} | {exit_code:6} | {left:9} | {', '.join(said)}")
    # A worker that had done its last batch is missed by nobody, and a run can be killed after it has published.
    if victims:
        assert (exit_code, run.end) in [(1, LOST_WORKER), (0, End(site.fingerprint))]
    else:
        assert exit_code in {-9, 0} and run.end in [End(), End(site.fingerprint)]
    assert made in ([], [site.fingerprint]) and not (made and exit_code == 1)
    assert (left, said) == (0, ["a clean run's"])


def run_until(run: Run, moment: float | None) -> str:
    """Let a run go on until a moment, or to its end; return the step that it last told of."""
    step = ""
    while moment is None or time.monotonic() < moment:
        heard = run.next_report(PATIENCE_SECONDS if moment is None else max(0, moment - time.monotonic()))
        if heard is None:
            break
        step = heard or step
        run.go_on()
    return step


def fill(disk: Path) -> Path:
    """Leave no byte of a disk free; return the file that has them."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


FULL = r"books/validated_corpus: the disk that holds .* is full; nothing was lost, free some space and run the same com"


def test_a_full_disk_in_any_step_is_one_sentence_and_costs_neither_the_former_corpus_nor_the_next(
    site: Site, small_disk: Path, tmp_path: Path
) -> None:
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    at_first = site.begin(small_disk)
    store = Store(at_first.address, tmp_path / "scratch")
    former = make(site.config.model_copy(update={"expectations": ()}), store)
    files = files_of(store)
    for step in site.steps:

        def fill_at(progress: Progress, step: str = step) -> None:
            if step_of(progress) == step:
                fill(small_disk)

        with pytest.raises(PlatformError, match=FULL) as caught:
            make(site.config, store, fill_at)
        assert "\n" not in str(caught.value)
        (small_disk / "ballast").unlink()
        assert (store.latest("books", "validated_corpus"), files_of(store)) == (former, files), step
        assert [damage for _, damage in store.audit() if damage] == []
    assert make(site.config, store).fingerprint == site.fingerprint
    assert debris(store, site, files) == []


def test_a_full_disk_under_the_memory_is_one_sentence_and_the_next_run_is_a_clean_one(
    site: Site, small_disk: Path, tmp_path: Path
) -> None:
    store = Store(site.begin(tmp_path).address, small_disk / "scratch")

    def fill_once(_: Progress) -> None:
        fill(small_disk)

    with pytest.raises(PlatformError, match=FULL) as caught:
        make(site.config, store, fill_once)
    assert str(small_disk) in str(caught.value) and "\n" not in str(caught.value)
    (small_disk / "ballast").unlink()
    site.hold_nothing(store)
    site.hold_next(store)

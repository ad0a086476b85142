"""Whatever is changed in checkpoints and shards is found before anything of it is loaded."""

import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forge_pipelines.errors import DataError
from forge_pipelines.manifest import Manifest
from forge_pipelines.store import Store
from forge_pipelines.training.checkpoints import Done, checkpoint_folder, damage_of, seal

SOAK = "FORGE_SOAK" in os.environ
EDITS = 500
KEY = "c" * 64
TABLE: Counter[tuple[str, str]] = Counter()


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    """Print what was tried, at the end of a soak."""
    yield
    if SOAK:
        rows = (f"{what:<10} | {how:<24} | {count:>7}" for (what, how), count in sorted(TABLE.items()))
        sys.stdout.write("\n".join(["", "in         | edit                     | refused", *rows, ""]))


def flip_a_bit(path: Path, dice: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    path.write_bytes(content)


def cut_off(path: Path, dice: random.Random) -> None:
    os.truncate(path, dice.randrange(path.stat().st_size))


def append_a_byte(path: Path, dice: random.Random) -> None:
    path.write_bytes(path.read_bytes() + bytes([dice.randrange(256)]))


def remove(path: Path, _: random.Random) -> None:
    path.unlink()


def put_another_in_its_place(path: Path, dice: random.Random) -> None:
    others = [each for each in files_below(path.parents[1]) if each.read_bytes() != path.read_bytes()]
    path.write_bytes(dice.choice(others).read_bytes())


def swap_with_another(path: Path, dice: random.Random) -> None:
    others = [each for each in files_below(path.parents[1]) if each.read_bytes() != path.read_bytes()]
    other = dice.choice(others)
    content = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(content)


Edit = Callable[[Path, random.Random], None]
EDIT: tuple[Edit, ...] = (
    flip_a_bit,
    cut_off,
    append_a_byte,
    remove,
    put_another_in_its_place,
    swap_with_another,
)


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)


def snapshot(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def restore(contents: dict[Path, bytes]) -> None:
    for path, content in contents.items():
        if not path.is_file() or path.read_bytes() != content:
            path.write_bytes(content)


def write_checkpoints(root: Path) -> None:
    """Two checkpoints of files as DeepSpeed and the Trainer name them."""
    dice = random.Random(0)
    for step in (5, 10):
        folder = checkpoint_folder(root, step)
        state = folder / f"global_step{step}"
        state.mkdir(parents=True)
        for name in ("mp_rank_00_model_states.pt", "zero_pp_rank_0_mp_rank_00_optim_states.pt"):
            (state / name).write_bytes(dice.randbytes(3000))
        (folder / "latest").write_text(f"global_step{step}")
        (folder / "trainer_state.json").write_text(f'{{"global_step": {step}}}')
        done = Done(
            training=KEY,
            step=step,
            world_size=2,
            samples=(0, 4 * step),
            skipped_batches=(1,),
            tokens_trained=100 * step,
            wall_seconds=0.5 * step,
            libraries={"torch": "2.13.0"},
            devices=("CPU",),
        )
        seal(folder, done)


def is_refused(folder: Path) -> bool:
    """Whether a checkpoint is: a torn one, for which there is no sentence, too."""
    try:
        return damage_of(folder, KEY) is not None
    except DataError:
        return True


def test_every_edit_of_a_checkpoint_is_found_before_it_is_loaded(tmp_path: Path) -> None:
    write_checkpoints(tmp_path)
    folders = [checkpoint_folder(tmp_path, step) for step in (5, 10)]
    assert not any(map(is_refused, folders))
    before, dice = snapshot(tmp_path), random.Random(1)
    for number in range(EDITS // 2):
        edit, path = EDIT[number % len(EDIT)], dice.choice([*before])
        edit(path, dice)
        folder = next(each for each in folders if path.is_relative_to(each))
        assert is_refused(folder), f"{edit.__name__} of {path} goes unseen"
        TABLE["checkpoint", edit.__name__] += 1
        restore(before)
    assert not any(map(is_refused, folders))


def test_every_edit_of_shards_is_found_before_they_are_read(store: Store, shards: Manifest) -> None:
    folder = store.open(shards)
    before, dice = snapshot(folder), random.Random(2)
    paths = [folder / entry.path for entry in shards.files]
    for number in range(EDITS // 2):
        edit, path = EDIT[number % len(EDIT)], dice.choice(paths)
        edit(path, dice)
        with pytest.raises(DataError, match=r"is damaged: "):
            store.open(shards)
        TABLE["shards", edit.__name__] += 1
        restore(before)
    assert store.open(shards) == folder

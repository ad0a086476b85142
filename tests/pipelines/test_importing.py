"""Imports that the garbage collector stays out of."""

import gc

import pytest

from forge_pipelines.importing import uncollected


def test_garbage_is_collected_again_after_the_outermost_imports() -> None:
    frozen = gc.get_freeze_count()
    with uncollected():
        with uncollected():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > frozen


def test_garbage_is_collected_again_after_imports_that_fail() -> None:
    with pytest.raises(ImportError), uncollected():
        raise ImportError
    assert gc.isenabled()

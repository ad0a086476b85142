"""The house's budgets and walls, measured; each message says what is over and what to do."""

import ast
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from statistics import median, quantiles

ROOT = Path(__file__).parent.parent
PACKAGES = [ROOT / "forge_pipelines", ROOT / "forge_assets"]
OURS = ("forge_pipelines", "forge_assets")
HEAVY = ("torch", "transformers", "datasets", "mlflow", "great_expectations", "deepspeed", "matplotlib", "pandas")
FORBIDDEN_NAMES = ("utils.py", "common.py", "helpers.py")
ENVIRONMENT_READERS = {"forge_assets/settings.py", "forge_pipelines/processes.py"}  # the second hands it on


def modules() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(chain(*(package.rglob("*.py") for package in PACKAGES))):
        yield path.relative_to(ROOT), ast.parse(path.read_text(), str(path))


def functions() -> Iterator[tuple[str, int]]:
    for path, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                yield f"{path}:{node.lineno} {node.name}", node.end_lineno - node.lineno + 1


def test_functions_are_short() -> None:
    lengths = dict(functions())
    longest = sorted(lengths, key=lengths.__getitem__)[-5:]
    advice = f"split the longest: {[(name, lengths[name]) for name in longest]}"
    assert median(lengths.values()) <= 10, f"the median function is over 10 lines; {advice}"
    assert quantiles(lengths.values(), n=10)[-1] <= 40, f"over 10 % of the functions are over 40 lines; {advice}"
    assert max(lengths.values()) <= 80, f"a function is over 80 lines; {advice}"


def test_files_are_short() -> None:
    lengths = {str(path): (ROOT / path).read_text().count("\n") for path, _ in modules()}
    over = sorted(path for path, length in lengths.items() if length > 250)
    assert len(over) <= len(lengths) / 10, (
        f"over 10 % of the files are over 250 lines: {over}; give a concern its own file"
    )
    assert max(lengths.values()) <= 400, f"a file is over 400 lines: {[p for p in over if lengths[p] > 400]}"


def test_no_file_is_a_drawer() -> None:
    drawers = [str(path) for path, _ in modules() if path.name in FORBIDDEN_NAMES]
    assert not drawers, f"{drawers}: name a file for what belongs in it"


def test_our_own_code_is_imported_at_the_top() -> None:
    late = [
        f"{path}:{node.lineno}"
        for path, tree in modules()
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if (isinstance(node, ast.ImportFrom) and (node.module or "").startswith(OURS))
        or (isinstance(node, ast.Import) and any(name.name.startswith(OURS) for name in node.names))
    ]
    assert not late, f"{late}: import our own modules at the top; a cycle means that a room must change"


def test_heavy_packages_are_imported_where_they_are_used() -> None:
    early = []
    for path, tree in modules():
        if "worker" in path.parts:
            continue
        for node in tree.body:
            named = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            named += [name.name for name in node.names] if isinstance(node, ast.Import) else []
            early += [f"{path}:{node.lineno} {name}" for name in named if name.split(".")[0] in HEAVY]
    assert not early, f"{early}: import it inside the function that needs it, or loading the definitions gets slow"


def test_only_settings_read_the_environment() -> None:
    readers = [
        str(path)
        for path, tree in modules()
        if str(path) not in ENVIRONMENT_READERS and "worker" not in path.parts
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
    ]
    assert not readers, f"{readers}: read the environment in forge_assets/settings.py and pass values down"


def test_only_one_module_starts_processes() -> None:
    starters = [
        f"{path}:{node.lineno}"
        for path, tree in modules()
        if path.name != "processes.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        and any("subprocess" in name for name in [getattr(node, "module", "") or "", *(n.name for n in node.names)])
    ]
    assert not starters, f"{starters}: start processes through forge_pipelines/processes.py, which ends them too"


def test_every_module_says_what_belongs_in_it() -> None:
    silent = [str(path) for path, tree in modules() if not ast.get_docstring(tree)]
    assert not silent, f"{silent}: the first line says what belongs here"

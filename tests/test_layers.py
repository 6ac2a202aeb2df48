"""Imports go one way, heavy libraries stay where they belong, and the test split is out of reach.

Imports are read from the source: those inside functions and those for type checkers count like all others. What a file
does only as a program (`__main__`) does not count: it starts the command line, which stands above all.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = [
    "t5vqvae.errors",
    "t5vqvae.redaction",
    "t5vqvae.files",
    "t5vqvae.stages",
    "t5vqvae.seeding",
    "t5vqvae.disk",
    "t5vqvae.machine_errors",
    "t5vqvae.config",
    "t5vqvae.quantizers",
    "t5vqvae.data",
    "t5vqvae.spec",
    "t5vqvae.models",
    "t5vqvae.latent",
    "t5vqvae.measures",
    "t5vqvae.evaluation",
    "t5vqvae.tasks",
    "t5vqvae.training",
    "t5vqvae.tracking",
    "t5vqvae.runs",
    "t5vqvae.serving",
    "tune.process",
    "tune.space",
    "tune.spec",
    "tune.records",
    "tune.analysis",
    "tune.sampling",
    "tune.monitor",
    "tune.execution",
    "tune.ablation",
    "tune.promotion",
    "tune.report",
    "tune.search",
    "tune.ablate",
    "tune.promote",
    "tune.known_settings",
    "tune.command_line",
    "tune.operations",
    "tune.cli",
]
"""Every folder and every file directly in a package, lowest first; each may import what stands above it here."""

HOMES = {
    "ray": ("t5vqvae.runs.ray_train", "t5vqvae.serving.ray_serve", "tune.execution"),
    "optuna": ("tune.sampling", "tune.space", "tune.spec.samplers", "tune.analysis.importance"),
    "mlflow": ("t5vqvae.tracking",),
    "transformers": ("t5vqvae.models", "t5vqvae.data", "t5vqvae.training"),
    "datasets": ("t5vqvae.data",),
    "huggingface_hub": ("t5vqvae.models.backbones", "tune.promotion.hub_upload"),
    "fsspec": ("tune.records.remote_folder",),
}
"""The folders and files that may import a library."""

BARE = [
    "t5vqvae.data",
    "t5vqvae.models.t5",
    "t5vqvae.training.trainer",
    "t5vqvae.evaluation.evaluate",
    "t5vqvae.tasks.all_tasks",
    "t5vqvae.tasks.report",
]
ABSENT = ["ray", "mlflow", "optuna", "datasets", "plotly", "sklearn", "statsmodels", "pandas", "typer", "rouge_score"]


def modules() -> dict[str, Path]:
    """Every module of the project by its dotted name."""
    found = {}
    for package in ("t5vqvae", "tune"):
        for file in sorted((ROOT / package).rglob("*.py")):
            found[".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")] = file
    return found


def imports(source: str) -> Iterator[str]:
    """Every module that a source may import, as written; `from a import b` gives `a` and `a.b`."""
    tree = ast.parse(source)
    tree.body = [node for node in tree.body if not is_program(node)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the layer"
            yield from (name for alias in node.names for name in (node.module, f"{node.module}.{alias.name}"))


def is_program(node: ast.stmt) -> bool:
    """Whether a statement is `if __name__ == "__main__"`."""
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"


@cache
def graph() -> dict[str, set[str]]:
    """Who imports whom within the project. A package is not what its parts import from it in passing."""
    known = modules()
    files = {name: file for name, file in known.items() if file.name != "__main__.py"}
    edges = {name: set(imports(file.read_text())) & set(known) - {name} for name, file in files.items()}
    return {name: {other for other in others if not name.startswith(f"{other}.")} for name, others in edges.items()}


def reachable(start: str, edges: dict[str, set[str]]) -> set[str]:
    """Everything that a module imports, at any depth."""
    seen, waiting = set(), [start]
    while waiting:
        for other in edges[waiting.pop()] - seen:
            seen.add(other)
            waiting.append(other)
    return seen


def of(layer: str, names: set[str] | dict[str, set[str]]) -> list[str]:
    """The modules of a layer: the module or package of that name."""
    return [name for name in names if name == layer or name.startswith(f"{layer}.")]


def layer_of(module: str) -> str | None:
    """The layer of a module; None for the packages themselves, which import nothing of their own."""
    return next((layer for layer in LAYERS if of(layer, {module})), None)


def violations(edges: dict[str, set[str]]) -> list[str]:
    """Where a lower layer imports a higher one."""
    rank = {layer: place for place, layer in enumerate(LAYERS)}
    found = []
    for name, others in edges.items():
        for other in others:
            low, high = layer_of(name), layer_of(other)
            if low is not None and high is not None and rank[low] < rank[high]:
                found.append(f"{name} imports {other}")
    return found


def test_every_module_has_its_place() -> None:
    assert [name for name in modules() if layer_of(name) is None] == ["t5vqvae", "tune"]
    assert [layer for layer in LAYERS if not of(layer, modules())] == []


def test_the_packages_hold_few_files_of_their_own() -> None:
    assert len(list((ROOT / "t5vqvae").glob("*.py"))) <= 7
    assert len(list((ROOT / "tune").glob("*.py"))) <= 8


def test_imports_go_one_way() -> None:
    assert len(graph()) > 100
    assert violations(graph()) == []


def test_no_module_imports_itself_through_others() -> None:
    assert [name for name in graph() if name in reachable(name, graph())] == []


def test_an_import_upwards_is_seen() -> None:
    below, above = "t5vqvae.models.contract", "t5vqvae.training.trainer"
    edges = {**graph(), below: graph()[below] | {above}}
    assert violations(edges) == [f"{below} imports {above}"]


def test_an_import_for_type_checkers_counts() -> None:
    source = "if TYPE_CHECKING:\n    from tune.ablation.ablation_spec import AblationSpec"
    assert "tune.ablation.ablation_spec" in set(imports(source))


def test_an_import_of_a_program_does_not_count() -> None:
    source = "import json\nif __name__ == '__main__':\n    from tune.cli import main"
    assert list(imports(source)) == ["json"]


def test_the_package_of_models_knows_no_search() -> None:
    assert [name for name in modules() if name.startswith("t5vqvae") and of("tune", reachable(name, graph()))] == []


@pytest.mark.parametrize("library", sorted(HOMES))
def test_heavy_libraries_stay_in_their_homes(library: str) -> None:
    users = [name for name, file in modules().items() if any(of(library, {i}) for i in imports(file.read_text()))]
    assert users
    assert [name for name in users if not name.startswith(HOMES[library])] == []


@pytest.mark.parametrize(
    "function, allowed",
    [
        (
            "prepare_test",
            {
                "t5vqvae.data",
                "t5vqvae.data.prepare",
                "t5vqvae.evaluation.final_test",
                "t5vqvae.measures.probing",
                "t5vqvae.tasks.report",
            },
        ),
        ("evaluate_test", {"t5vqvae.evaluation.final_test", "tune.promotion.candidate"}),
    ],
)
def test_the_test_split_is_reached_from_evaluation_probe_and_promotion_alone(function: str, allowed: set[str]) -> None:
    users = {name for name, file in modules().items() if function in identifiers(file.read_text())}
    assert users
    assert {name for name in users if not any(of(home, {name}) for home in allowed)} == set()


def identifiers(source: str) -> set[str]:
    """Every name and attribute used in a source; its words in docstrings don't count."""
    nodes = list(ast.walk(ast.parse(source)))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    names |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    names |= {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    return names | {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}


BARE_RUN = """
import sys
absent = set(sys.argv[1].split(","))
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = staticmethod(lambda name, *rest: None if name.split(".")[0] in absent else find(name, *rest))
try:
    import ray
except ImportError:
    pass
else:
    raise SystemExit("ray is not blocked")
import importlib
from pathlib import Path
for module in sys.argv[2].split(","):
    importlib.import_module(module)
from t5vqvae.spec.run import RunSpec
from t5vqvae.training.trainer import train
words = {"data.corpus.name": "grammar", "data.corpus.size": 64, "data.corpus.validation_size": 16,
         "data.corpus.test_size": 16, "data.tokenizer.vocab_size": 300, "model.d_model": 16, "model.num_heads": 2,
         "quantizer.codebook_size": 8, "train.max_steps": 1, "train.batch_size": 8, "evaluate.num_generated": 2}
milestones = list(train(RunSpec().with_overrides(words), cache_dir=Path(sys.argv[3])))
assert milestones[-1].status == "completed" and milestones[-1].step == 1
"""


def test_a_model_trains_where_there_is_no_search_and_no_tracking(tmp_path: Path) -> None:
    command = [sys.executable, "-c", BARE_RUN, ",".join(ABSENT), ",".join(BARE), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]

"""Which model families work, by attention and quantisation: `python -m introbench.validation.model_matrix`."""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from textwrap import shorten
from xml.etree import ElementTree

from inspect_ai.log import list_eval_logs, read_eval_log
from tabulate import tabulate

from introbench.models.checkpoint import software_versions
from introbench.validation.error_rates import replace_tables
from introbench.validation.every_family import LONGEST_REASON, every_family, families_table, try_family
from introbench.validation.tiny_models import FAMILIES, WITHOUT_KV_CACHE, save_family

NO_SUCH_ATTENTION = "does not support an attention implementation"
"""Part of the error that transformers raises for a family without the chosen attention."""


EVERY_FAMILY = """Every family that this transformers lists as a language model, or as a model for pictures or sound
with one inside, built tiny from its default configuration and loaded by default. It *runs* if, when it loads, a cache
fill and questions under injections give what uncached passes give; the class that was loaded is named. *Not built* and
*not run* say nothing about a family: its default sizes could not be made small, or do not fit each other then. A few
that are not run ask for pictures whenever they are run."""
"""What stands above the table of all families."""

PASSED, FAILED = 0, 1
"""Exit statuses of pytest after all tests have been run."""


@dataclass(frozen=True)
class Variant:
    """One way to load every model.

    Attributes:
        name: Name in the table.
        arguments: Model arguments, as they follow `-M`.
        needs: Package that has to be installed.
    """

    name: str
    arguments: tuple[str, ...]
    needs: str = "torch"


_INT8 = {
    "quant_method": "torchao",
    "quant_type": {"default": {"_type": "Int8WeightOnlyConfig", "_version": 2, "_data": {}}},
}


VARIANTS = (
    Variant("default", ()),
    Variant("sdpa", ("attn_implementation=sdpa",)),
    Variant("eager", ("attn_implementation=eager",)),
    Variant("bfloat16", ("dtype=bfloat16",)),
    Variant("int8 (torchao)", ("dtype=bfloat16", f"quantization_config={json.dumps(_INT8)}"), "torchao"),
    Variant(
        "8 bit (bitsandbytes)",
        ("dtype=bfloat16", "quantization_config={quant_method: bitsandbytes, load_in_8bit: true}"),
        "bitsandbytes",
    ),
    Variant(
        "4 bit (bitsandbytes)",
        ("dtype=bfloat16", "quantization_config={quant_method: bitsandbytes, load_in_4bit: true}"),
        "bitsandbytes",
    ),
)


@dataclass(frozen=True)
class Cell:
    """The result of the invariants on one model family, loaded in one way.

    Attributes:
        failed: Error texts of the tests that failed, by name.
        passed: Number of tests that passed.
        skipped: Names of the tests that did not apply.
        path: The engine's path, with its reason; empty if the model was not run.
    """

    failed: Mapping[str, str]
    passed: int
    skipped: tuple[str, ...]
    path: str

    @property
    def refusal(self) -> str:
        """Why the model was refused, if no test could be run; empty otherwise."""
        return next(iter(self.failed.values())) if self.failed and not self.passed and not self.skipped else ""

    def __str__(self) -> str:
        """The text in the table."""
        if not self.failed:
            path = "yes" if self.path.startswith("fast") else "yes, plain path"
            return f"{path}; not checked: {', '.join(self.skipped)}" if self.skipped else path
        if NO_SUCH_ATTENTION in self.refusal:
            return "-"
        return "refused" if self.refusal else "no: " + ", ".join(self.failed)


def run_invariants(families: Sequence[str], variant: Variant, folder: Path) -> dict[str, Cell]:
    """Test the invariants on tiny models of some families, with the command that a user would type.

    Args:
        families: Some of `FAMILIES` and `WITHOUT_KV_CACHE`; models that the folder lacks are written to it.
        variant: How to load the models.
        folder: Folder for models and logs.

    Raises:
        RuntimeError: The tests were not run to their end.
    """
    for family in families:
        if not (folder / family).exists():
            save_family(family, folder / family)
    logs, junit = (folder / f"{kind} {variant.name}" for kind in ("logs", "junit"))
    command = [sys.executable, "-m", "pytest", "--pyargs", "introbench.regression", "-m", "invariants", "-q"]
    command += ["-p", "no:cacheprovider", "--junitxml", str(junit), "--eval-logs", str(logs)]
    for family in families:
        command += ["--model", f"inject/{folder / family}"]
    for argument in variant.arguments:
        command += ["-M", argument]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # variants run in parallel
    process = subprocess.run(command, cwd=folder, env=one_thread, capture_output=True, text=True, check=False)
    if process.returncode not in (PASSED, FAILED) or not junit.exists():
        raise RuntimeError(f"{' '.join(command)}: status {process.returncode}; {process.stdout}{process.stderr}")
    cells = _cells(families, junit, f"inject/{folder}/", _paths(logs))
    for family, cell in cells.items():
        print(f"{variant.name}: {family}: {cell}", file=sys.stderr, flush=True)
    return cells


def _paths(logs: Path) -> dict[str, str]:
    """The engine's path by family, from the logs."""
    paths = {}
    for info in list_eval_logs(str(logs)):
        for sample in read_eval_log(info.name).samples or []:
            facts = (sample.output.metadata or {}).get("model")  # said once for the trials that are read as one
            if facts:
                paths[Path(sample.output.model).name] = facts["path"]
    return paths


def _cells(families: Sequence[str], junit: Path, before_family: str, paths: Mapping[str, str]) -> dict[str, Cell]:
    """The cell of every family, from pytest's report."""
    failed: dict[str, dict[str, str]] = defaultdict(dict)
    passed: dict[str, int] = defaultdict(int)
    skipped: dict[str, list[str]] = defaultdict(list)
    for case in ElementTree.parse(junit).iter("testcase"):
        name, _, parameters = str(case.get("name")).removesuffix("]").partition("[")
        family, _, check = parameters.removeprefix(before_family).partition("-")
        problem = next((element for element in case if element.tag in ("failure", "error")), None)
        if problem is not None:
            failed[family][check or name] = str(problem.text or problem.get("message")).strip()
        elif any(element.tag == "skipped" for element in case):
            skipped[family].append(check or name)
        else:
            passed[family] += 1
    return {
        family: Cell(failed[family], passed[family], tuple(skipped[family]), paths.get(family, ""))
        for family in families
    }


def matrix_tables(matrix: Mapping[str, Mapping[str, Cell]]) -> str:
    """The tables of results and of reasons, as Markdown.

    Args:
        matrix: Cells by variant and family.
    """
    variants = list(matrix)
    families = list(next(iter(matrix.values())))
    rows = [[family, *(str(matrix[variant][family]) for variant in variants)] for family in families]
    reasons: dict[tuple[str, str], list[str]] = {}
    for variant, cells in matrix.items():
        for family, cell in cells.items():
            for error in dict.fromkeys(cell.failed.values() if str(cell) != "-" else ()):
                # The reason follows the name of the task and of the model.
                reason = error.splitlines()[-1].rpartition(f"model type {family}: ")[2].rpartition(f"/{family}: ")[2]
                reason = shorten(reason.replace("|", "\\|"), LONGEST_REASON, placeholder=" ...")
                reasons.setdefault((family, reason), []).append(variant)
    why = [
        [family, "all" if len(loaded_with) == len(variants) else ", ".join(loaded_with), reason]
        for (family, reason), loaded_with in reasons.items()
    ]
    versions = ", ".join(f"{name} {version}" for name, version in software_versions().items())
    return "\n\n".join(
        [
            tabulate(rows, ["family", *variants], tablefmt="github"),
            tabulate(why, ["family", "loaded with", "because"], tablefmt="github"),
            f"Made with {versions}.",
        ]
    )


def _try_all(workers: int) -> dict[str, str]:
    """What becomes of every family of transformers, by family."""
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name, spawn.Pool(workers) as pool:
        families = every_family()
        results = pool.starmap(try_family, [(family, Path(name) / family) for family in families], chunksize=1)
    return dict(zip(families, results, strict=True))


def main() -> int:
    """Test the invariants on all families and variants, and print the tables.

    Returns:
        The exit status: 0 if, loaded by default, all families with a KV cache pass and all others are refused.
    """
    parser = argparse.ArgumentParser(prog="python -m introbench.validation.model_matrix", description=__doc__)
    parser.add_argument("--families", nargs="*", default=[*FAMILIES, *WITHOUT_KV_CACHE], help="run these families only")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="number of processes")
    parser.add_argument("--write", type=Path, help="a Markdown file whose tables are replaced")
    options = parser.parse_args()
    variants = [variant for variant in VARIANTS if find_spec(variant.needs)]
    for variant in set(VARIANTS) - set(variants):
        print(f"{variant.name}: left out; pip install {variant.needs} to include it", file=sys.stderr)
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(options.workers) as pool:
        folder = Path(name).resolve()
        for family in options.families:
            save_family(family, folder / family)
        cells = pool.map(lambda variant: run_invariants(options.families, variant, folder), variants)
        matrix = dict(zip((variant.name for variant in variants), cells, strict=True))
    tables = matrix_tables(matrix)
    print(tables)
    families = families_table(_try_all(options.workers))
    print(families)
    if options.write:
        replace_tables(options.write, "make models", f"{tables}\n\n{EVERY_FAMILY}\n\n{families}")
    wrong = [
        family
        for family, cell in matrix["default"].items()
        if bool(cell.failed) != (family in WITHOUT_KV_CACHE) or bool(cell.refusal) != (family in WITHOUT_KV_CACHE)
    ]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""Which model families work, attention by attention and quantised: `python -m introbench.validation.model_matrix`."""

import argparse
import json
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
from introbench.validation.tiny_models import FAMILIES, WITHOUT_KV_CACHE, save_family

LONGEST_REASON = 120

NO_SUCH_ATTENTION = "does not support an attention implementation"
"""What transformers says."""


@dataclass(frozen=True)
class Variant:
    """One way to load every model.

    Attributes:
        name: What the table calls it.
        arguments: As after `-M`.
        needs: A package that it takes.
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
    """What the invariants said about a model family, loaded in one way.

    Attributes:
        failed: The tests that failed, with what they said.
        passed: How many passed.
        skipped: Those that could not tell anything.
        path: How the engine ran it; empty if it did not.
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
        """As the table shows it."""
        if not self.failed:
            path = "yes" if self.path.startswith("fast") else "yes, plain path"
            return f"{path}; not checked: {', '.join(self.skipped)}" if self.skipped else path
        if NO_SUCH_ATTENTION in self.refusal:
            return "-"
        return "refused" if self.refusal else "no: " + ", ".join(self.failed)


def run_invariants(families: Sequence[str], variant: Variant, folder: Path) -> dict[str, Cell]:
    """Hold tiny models of some families against the invariants, by the command that a user would type.

    Args:
        families: Some of `FAMILIES` and `WITHOUT_KV_CACHE`; their models lie in the folder, or are made there.
        variant: How to load them.
        folder: For models and logs.
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
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}  # several run side by side
    done = subprocess.run(command, cwd=folder, env=alone, capture_output=True, text=True, check=False)
    if not junit.exists():
        raise RuntimeError(f"{' '.join(command)}: status {done.returncode}; {done.stdout}{done.stderr}")
    cells = _cells(families, junit, f"inject/{folder}/", _paths(logs))
    for family, cell in cells.items():
        print(f"{variant.name}: {family}: {cell}", file=sys.stderr, flush=True)
    return cells


def _paths(logs: Path) -> dict[str, str]:
    """By family: how the engine ran it."""
    paths = {}
    for info in list_eval_logs(str(logs)):
        for sample in (read_eval_log(info.name).samples or [])[:1]:
            told = (sample.output.metadata or {}).get("model")  # a trial that failed tells nothing
            if told:
                paths[Path(sample.output.model).name] = told["path"]
    return paths


def _cells(families: Sequence[str], junit: Path, before_family: str, paths: Mapping[str, str]) -> dict[str, Cell]:
    """By family: what the tests said, from pytest's own report."""
    failed: dict[str, dict[str, str]] = defaultdict(dict)
    passed: dict[str, int] = defaultdict(int)
    skipped: dict[str, list[str]] = defaultdict(list)
    for case in ElementTree.parse(junit).iter("testcase"):
        name, _, asked = str(case.get("name")).removesuffix("]").partition("[")
        family, _, check = asked.removeprefix(before_family).partition("-")
        problem = next((each for each in case if each.tag in ("failure", "error")), None)
        if problem is not None:
            failed[family][check or name] = str(problem.text or problem.get("message")).strip()
        elif any(each.tag == "skipped" for each in case):
            skipped[family].append(check or name)
        else:
            passed[family] += 1
    return {
        family: Cell(failed[family], passed[family], tuple(skipped[family]), paths.get(family, ""))
        for family in families
    }


def matrix_tables(found: Mapping[str, Mapping[str, Cell]]) -> str:
    """The tables, as Markdown.

    Args:
        found: Cells by variant and family.
    """
    variants = list(found)
    families = list(next(iter(found.values())))
    rows = [[family, *(str(found[variant][family]) for variant in variants)] for family in families]
    reasons: dict[tuple[str, str], list[str]] = {}
    for variant, cells in found.items():
        for family, cell in cells.items():
            for said in dict.fromkeys(cell.failed.values() if str(cell) != "-" else ()):
                # Everything before the model's own reason is the command's.
                reason = said.splitlines()[-1].rpartition(f"model type {family}: ")[2].rpartition(f"/{family}: ")[2]
                reason = shorten(reason.replace("|", "\\|"), LONGEST_REASON, placeholder=" ...")
                reasons.setdefault((family, reason), []).append(variant)
    why = [
        [family, "all" if len(several) == len(variants) else ", ".join(several), reason]
        for (family, reason), several in reasons.items()
    ]
    versions = ", ".join(f"{name} {version}" for name, version in software_versions().items())
    return "\n\n".join(
        [
            tabulate(rows, ["family", *variants], tablefmt="github"),
            tabulate(why, ["family", "loaded with", "because"], tablefmt="github"),
            f"Made with {versions}.",
        ]
    )


def main() -> int:
    """Run the invariants over all families and variants, and print or write the table."""
    parser = argparse.ArgumentParser(prog="python -m introbench.validation.model_matrix", description=__doc__)
    parser.add_argument("--families", nargs="*", default=[*FAMILIES, *WITHOUT_KV_CACHE], help="some families alone")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--write", type=Path, help="a Markdown file whose tables are to be replaced")
    options = parser.parse_args()
    variants = [variant for variant in VARIANTS if find_spec(variant.needs)]
    for variant in set(VARIANTS) - set(variants):
        print(f"{variant.name}: left out; pip install {variant.needs} to have it", file=sys.stderr)
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(options.workers) as pool:
        folder = Path(name).resolve()
        for family in options.families:
            save_family(family, folder / family)
        cells = pool.map(lambda variant: run_invariants(options.families, variant, folder), variants)
        found = dict(zip((variant.name for variant in variants), cells, strict=True))
    tables = matrix_tables(found)
    print(tables)
    if options.write:
        replace_tables(options.write, "make models", tables)
    wrong = [
        family
        for family, cell in found["default"].items()
        if bool(cell.failed) != (family in WITHOUT_KV_CACHE) or bool(cell.refusal) != (family in WITHOUT_KV_CACHE)
    ]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

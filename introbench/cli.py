"""The command `introbench`: the table of a log, a page of several, pictures, a comparison, and vectors as files."""

# A person who asks for help, or for the table of a log, must not wait for torch: each command imports what it needs.
# ruff: noqa: PLC0415

import argparse
import sys
from pathlib import Path

from introbench.errors import InputError, first_line, for_encoding, shown
from introbench.regression.budget import parse_budget
from introbench.report.terminal import say, stop_printing
from introbench.steering.injection import CONCEPT_METHODS

_FOLDER = "by default the folder in which Inspect writes logs (INSPECT_LOG_DIR, or logs)"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    commands = {
        "table": _table,
        "report": _report,
        "replicate": _replicate,
        "plot": _plot,
        "compare": _compare,
        "vectors": _write_vectors,
    }
    try:
        status = commands[options.command](options)
        if sys.stdout:
            sys.stdout.flush()
        return status
    except InputError as error:
        print(for_encoding(f"introbench: {error}", sys.stderr), file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read this has stopped, as `head` does
        stop_printing()
        return 1
    except OSError as error:
        stop_printing()
        print(for_encoding(f"introbench: {first_line(error)}", sys.stderr), file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="introbench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    table = commands.add_parser("table", help="print what a log says: the conclusion, and its main tables")
    table.add_argument("log", nargs="*", help=f"log files, or folders whose latest log is taken; {_FOLDER}")
    table.add_argument("--full", action="store_true", help="print all other tables as well")
    report = commands.add_parser("report", help="write one page of logs with all figures and tables")
    report.add_argument("log", nargs="*", help=f"log files, or folders all of whose logs are taken; {_FOLDER}")
    report.add_argument("--latest", action="store_true", help="of a folder, take the latest log alone")
    report.add_argument("-o", "--out", type=Path, default=Path("report.html"), help="report.html by default")
    report.add_argument("--figures", type=Path, metavar="DIR", help="write each figure as PNG, SVG and CSV as well")
    report.add_argument(
        "--check", action="store_true", help="compute every score and metric again instead; status 1 if one differs"
    )
    replicate = commands.add_parser(
        "replicate", help="run the published study's seven experiments, or go on with them, and write a report"
    )
    replicate.add_argument("--model", default="inject/smollm2", help="inject/ID; the embedded model by default")
    replicate.add_argument("--prompts", help="files or folders of published conversations, separated by commas")
    replicate.add_argument("--finetune", help="the fine-tune of the seventh experiment; see evals/model_swap.py")
    replicate.add_argument("--logs", default="logs/replication", help="folder of the logs and of report.html")
    replicate.add_argument("--limit", type=int, help="run this many trials of each task, to try it out")
    replicate.add_argument("-M", action="append", default=[], metavar="NAME=VALUE", help="model arguments")
    plot = commands.add_parser("plot", help="draw the maps of a sweep")
    plot.add_argument("log", nargs="?", help=f"a log file, or a folder whose latest sweep is taken; {_FOLDER}")
    plot.add_argument("--out", type=Path, default=Path("sweep.png"), help="PNG, PDF or SVG file; sweep.png by default")
    compare = commands.add_parser("compare", help="compare two evaluations of the same trials, pair by pair")
    compare.add_argument("before", help="an Inspect log, or a baseline that the pytest plugin wrote")
    compare.add_argument("now", help="another one")
    compare.add_argument("--metric", action="append", help="value of the trials, such as shift, random or log_odds")
    compare.add_argument(
        "--budget",
        type=parse_budget,
        help="largest change to tolerate, in nats, above 0; status 1 beyond it, or if the change is not known",
    )
    vectors = commands.add_parser("vectors", help="write vectors as control-vector files (GGUF)")
    vectors.add_argument("folder", type=Path, help="where to write CONCEPT.gguf")
    vectors.add_argument(
        "--finetune",
        metavar="ID",
        help="write the vector that leads from the model to this fine-tune; see evals/model_swap.py for its names",
    )
    vectors.add_argument("--name", help="what that vector's file is called, without .gguf; by default the fine-tune")
    vectors.add_argument(
        "--model", default="smollm2", help="smollm2 (the default), a Hugging Face id, or a local folder"
    )
    vectors.add_argument("--concepts", help="words, separated by commas; by default the nine published ones, or none")
    vectors.add_argument("--method", default="pca_center", choices=CONCEPT_METHODS)
    vectors.add_argument("--dtype", type=_dtype, help="float32, bfloat16, float16 or auto")
    return parser


def _dtype(text: str) -> str:
    from introbench.models.checkpoint import DTYPES

    if text not in DTYPES:
        raise argparse.ArgumentTypeError(f"invalid choice: {text!r} (choose from {', '.join(map(repr, DTYPES))})")
    return text


def _table(options: argparse.Namespace) -> int:
    from introbench.report.find import find_log
    from introbench.report.log import log_table
    from introbench.report.read_log import status_of

    locations = [find_log(place) for place in options.log or [None]]
    for number, location in enumerate(locations):
        say(("\n" if number else "") + log_table(location, full=options.full, others=locations))
    return 0 if all(status_of(location) == "success" for location in locations) else 1


def _report(options: argparse.Namespace) -> int:
    from introbench.report.find import find_log, find_logs

    locations = [find_log(place) for place in options.log or [None]] if options.latest else find_logs(options.log)
    if options.check:
        from introbench import registry
        from introbench.page.recompute import check_lines, recompute
        from introbench.report.log import read_log

        scorers = {location: read_log(location).scorer for location in locations}
        found = {location: recompute(location, name, getattr(registry, name)()) for location, name in scorers.items()}
        print("\n".join(check_lines(found)))
        return 1 if any(of_log.differences for of_log in found.values()) else 0
    from introbench.page.page import page, write_figures
    from introbench.page.section import read_sections

    sections = read_sections(locations)
    if options.figures:
        for path in write_figures(sections, options.figures):
            print(path)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(page(sections), encoding="utf-8")
    print(options.out)
    return 0


def _replicate(options: argparse.Namespace) -> int:
    from introbench.models.smollm2 import NAME
    from introbench.page.replication import replicate

    return replicate(
        options.model,
        options.logs,
        with_swap=bool(options.finetune) or options.model == f"inject/{NAME}",
        prompts=options.prompts,
        finetune=options.finetune,
        model_args=dict(argument.partition("=")[::2] for argument in options.M),
        limit=options.limit,
    )


def _plot(options: argparse.Namespace) -> int:
    from introbench.report.find import find_log
    from introbench.report.log import plot_log

    plot_log(find_log(options.log, ("sweep",)), options.out)
    print(options.out)
    return 0


def _compare(options: argparse.Namespace) -> int:
    from introbench.regression.paired import all_changes, comparison, partner
    from introbench.regression.read_baseline import read_records
    from introbench.report.typed import fitting_together

    before, now = read_records(options.before), read_records(options.now)
    pairs = [(partner(record, before), record) for record in now]
    alone = [record.task for first, record in pairs if first is None]
    alone += [record.task for record in before if partner(record, now) is None]
    good = not alone
    for first, second in pairs:
        if first:
            with fitting_together(f"{shown(options.before)} and {shown(options.now)}"):
                changes = all_changes(first, second, options.metric)
                text = comparison(first, second, changes, options.budget)
            say(text)
            good &= options.budget is None or all(c.is_known and not c.exceeds(options.budget) for c in changes)
    for task in alone:
        say(f"{task}: in one of the files alone")
    return 0 if good or options.budget is None else 1


def _write_vectors(options: argparse.Namespace) -> int:
    from introbench.models.checkpoint import Checkpoint
    from introbench.models.finetune import Finetune
    from introbench.provider.loaded_model import LoadedModel
    from introbench.steering.injection import MODEL_CONTRAST, VectorRecipe
    from introbench.steering.vectors.control_file import write_control_file
    from introbench.tasks.arguments import parse_concepts

    finetune, recipes = options.finetune or "", {}
    if options.name and not finetune:
        raise InputError("--name: names the file of a fine-tune's vector; expected one; pass --finetune ID as well")
    if options.concepts or not finetune:
        concepts = parse_concepts(options.concepts.split(",") if options.concepts else None)
        recipes = {concept: VectorRecipe(options.method, concept) for concept in concepts}
    checkpoint = Checkpoint(options.model.removeprefix("inject/"), dtype=options.dtype)
    checkpoint.check()
    if finetune:
        Finetune(finetune, checkpoint).check()
        own_name = finetune.rstrip("/").rpartition("/")[2].replace(":", "-")
        recipes[options.name or own_name] = VectorRecipe(MODEL_CONTRAST, finetune)
    model = LoadedModel(checkpoint)
    for name, recipe in recipes.items():
        directions, leads_to = model.library.directions(recipe), finetune if recipe.method == MODEL_CONTRAST else ""
        if not directions.any():
            raise InputError(
                f"finetune {shown(finetune)}: moves no state of the model; expected other weights; choose another"
            )
        write_control_file(options.folder / f"{name}.gguf", directions, checkpoint.config.model_type, leads_to)
        print(options.folder / f"{name}.gguf")
    return 0


if __name__ == "__main__":
    sys.exit(main())

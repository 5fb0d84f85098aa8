"""Write the gallery, docs/gallery.md and its pictures, from logs: python docs/draw_gallery.py LOG...

Conclusions, numbers and pictures are those of the report page (`introbench report`); nothing is written by hand but the
sentence that says what to look at.
"""

import sys
from pathlib import Path

from inspect_ai.log import read_eval_log

from introbench.page.section import Section, read_sections
from introbench.report.report import wrapped

HERE = Path(__file__).parent
PICTURES = HERE / "images/gallery"
INTRODUCTION = """\
# Gallery

Real runs on the embedded model, SmolLM2-135M, with the options that stand above each. The numbers and pictures are
those that `introbench report LOG --figures DIR` writes; `python docs/draw_gallery.py LOG...` writes this page from any
logs. So small a model is not expected to notice anything: these runs show what results look like, not what large models
can do. [Reading the report](report.md) explains the words. Where a run's task version is newer than release 0.1.0, the
code behind it was, too ([versions](versions.md)).
"""

LOOK_AT = {
    "introspection": "Does the model notice? The excess is how much further introspection answers move than control "
    "questions with the same log-odds do.",
    "sweep": "In which layers, and at which strength? If introspection is noise, its map looks like the maps of the "
    "control questions.",
    "logit_lens": "At which layers does the answer move? The gap is between the injected and the sham arm, after every "
    "block; what the last layers take away is the largest gap minus the answer's.",
    "top_of_mind": "Does a vector do anything at all, and is the text still coherent? The model goes on from "
    '"I\'m thinking about" while it is steered. A vector without content would beat two random ones once in three '
    "times.",
    "location": "Where was the thought? Each answer is right once for every place, so a liking for a place or a label "
    "brings no more than chance.",
    "identification": "Which concept was it? Bits count what is reported about what was injected, beside random "
    "vectors.",
    "model_swap": "Does the model notice that a fine-tune read the first part of the chat? The fine-tune is trained on "
    "the spot to speak of cats.",
    "calibrate": "Which strength? The dose grows with it; where texts stop being coherent, it is too much.",
    "probe": "Was the information there to report? A linear probe on the model's states stands beside its own report.",
}
"""What to look at, for each task."""

SHOWN = {
    "introspection": ("shifts", "excess"),
    "sweep": ("maps-info",),
    "logit_lens": ("gaps",),
    "probe": ("auroc",),
    "location": ("accuracy",),
    "identification": ("bits",),
    "model_swap": ("contrasts",),
}
"""Which figures of a task are shown; the first two of the others."""


def main(logs: list[str]) -> None:
    """Write the page and its pictures.

    Args:
        logs: Paths of logs, in the order of the page.
    """
    PICTURES.mkdir(parents=True, exist_ok=True)
    for old in PICTURES.glob("*"):
        old.unlink()
    versions = [read_eval_log(log, header_only=True).eval.task_version for log in logs]
    parts = [INTRODUCTION, *map(shown, read_sections(logs), versions)]
    (HERE / "gallery.md").write_text("\n".join(parts), encoding="utf-8")


def shown(section: Section, version: int | str) -> str:
    """One run, in Markdown; its pictures are written.

    Args:
        section: What the report page says about it.
        version: Of its task.
    """
    task = task_of(section)
    facts = section.provenance
    options = [f"`{name} {value}`" for name, value in facts.items() if name.startswith("-T ")]
    run = (
        f"{facts['model']}, revision {facts['model_revision']}, on {facts['began'][:10]}; "
        f"versions: {facts['versions']}; task version {version}; arguments: {', '.join(options)}"
    )
    named = {figure.name: figure for figure in section.figures}
    chosen = [named[name] for name in SHOWN.get(task, ()) if name in named] or list(section.figures)[:2]
    text = "\n".join(map(wrapped, section.report.conclusion))
    lines = [f"## {task}", "", LOOK_AT.get(task, ""), "", f"Run: {run}.", "", "```text", text, "```", ""]
    for figure in chosen:
        name = f"{task}-{figure.name}"
        for path in figure.write(PICTURES):
            if path.suffix == ".svg":
                path.rename(PICTURES / f"{name}.svg")
            else:
                path.unlink()
        lines += [
            f"![{figure.title}](images/gallery/{name}.svg)",
            "",
            f"*{figure.title.rstrip('?.')}. {figure.caption}*",
            "",
        ]
    return "\n".join(lines)


def task_of(section: Section) -> str:
    """Name of the task."""
    return section.title.partition(":")[0].replace(" ", "_")


if __name__ == "__main__":
    main(sys.argv[1:])

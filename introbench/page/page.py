"""The report: one self-contained page from any mix of logs, and the files of its figures."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from introbench.page.figure import CONFIG
from introbench.page.models import HEADERS, as_latex, as_markdown, by_dose
from introbench.page.scripts import scripts
from introbench.page.section import Section
from introbench.page.table_text import table_text


def page(sections: Sequence[Section]) -> str:
    """The page of some logs' sections, in their order."""
    environment = Environment(loader=PackageLoader("introbench.page", ""), autoescape=True, undefined=StrictUndefined)
    environment.filters["table_text"] = table_text
    charts = {
        f"{section.anchor}-{figure.name}-{number}": panel.chart("container")
        for section in sections
        for figure in section.figures
        for number, panel in enumerate(figure.panels)
    }
    models = by_dose(section.model for section in sections if section.model)
    return environment.get_template("page.html.jinja").render(
        sections=sections,
        models=models,
        headers=HEADERS,
        to_paste={"Markdown": as_markdown(models), "LaTeX": as_latex(models)} if models else {},
        charts=_as_script({"charts": charts, "config": CONFIG}),
        scripts=scripts(),
    )


def _as_script(value: Any) -> str:
    """JSON that stands in a script element, which no text in it can end."""
    return json.dumps(value, allow_nan=False, default=float).replace("<", "\\u003c").replace("&", "\\u0026")


def write_figures(sections: Sequence[Section], folder: Path) -> list[Path]:
    """Write every figure as PNG, SVG and CSV in a folder for each log, and the table of models in Markdown and LaTeX.

    Raises:
        InputError: The package that draws pictures is missing.
    """
    written = [
        path for section in sections for figure in section.figures for path in figure.write(folder / section.anchor)
    ]
    models = by_dose(section.model for section in sections if section.model)
    if models:
        for name, text in (("models.md", as_markdown(models)), ("models.tex", as_latex(models))):
            (folder / name).write_text(text + "\n", encoding="utf-8")
            written.append(folder / name)
    return written

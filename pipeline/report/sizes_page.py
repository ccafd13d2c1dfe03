"""The page of a study that varies training rows or widths: when does regularization matter?"""

from pathlib import Path

import pandas as pd
from markupsafe import Markup

from pipeline import results
from pipeline.analysis import by_example, ensembles, sizes, summary
from pipeline.analysis.chosen import choices
from pipeline.analysis.sizes import Sizes
from pipeline.datasets import about as studied
from pipeline.files import replace_csv, replace_text
from pipeline.report import figures, pages
from pipeline.report.rendering import render

DATA = "figures/sizes.csv"  # behind the figure


def write(folder: Path, ui: str) -> None:
    """Makes summary, metrics, advice, figures and page of a study that varies a size.

    Reads about.json, runs.csv, curves.parquet and tuned.json. Raises UserError if a file is missing
    or incomplete.
    """
    about, runs, tuned = studied.read(folder), results.read_runs(folder), results.read_tuned(folder)
    task = results.task_of(runs)
    table = summary.summarize(runs, about.outcomes, rows=by_example.read(folder, runs))
    found = sizes.read(runs, table)
    curves = figures.mean_curves(folder, runs)
    results.write_summary(table, folder)
    ensembles.write(pd.DataFrame(columns=list(ensembles.COLUMNS)), folder / "ensembles.csv")
    pages.write_metrics(found.findings[0], folder / "metrics.json")
    text = sizes.sentence(found, about.title)
    results.write_json(
        {"technique": None, "values": {}, "at_edge": [], "by_validation": None, "text": text},
        folder / results.ADVICE,
    )
    pages.write_plot_data(curves, task, folder / "plots" / "curves.csv")
    replace_csv(folder / "plots" / "noise.csv", figures.noise_curves(runs), digits=6)
    replace_csv(folder / DATA, pd.DataFrame(sizes.rows(found)), digits=6)
    panels = drawn(found)
    replace_text(folder / pages.THUMBNAIL, panels)
    page = render(
        "sizes.html",
        name=folder.name,
        about=about,
        found=found,
        text=text,
        figure=panels,
        chosen=[(size, choices(tuned, size)) for size in found.sizes],
        told=sizes,
        runs=pages.runs_of(runs, task),
        ui=ui.rstrip("/"),
        seconds=float(runs["seconds"].sum()),
    )
    replace_text(folder / pages.PAGE, page)


def drawn(found: Sizes) -> Markup:
    """The figure: the gain of each technique by size, with its interval."""
    figure = figures.sizes_panels(found)
    description = sizes.table(found).replace("\n", "; ")
    return Markup(figures.svg(figure, f"sizes-{found.study}", description))

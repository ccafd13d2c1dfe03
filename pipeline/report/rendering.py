"""Pages from templates: filters and words that all templates share.

A page is one file that opens offline: it contains its style and figures, and runs no script.
"""

import math
import re
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from pipeline.analysis.summary import SIGNIFICANCE, corrected_p, flags, ranks, told_apart
from pipeline.analysis.telling import amount, sentence
from pipeline.analysis.yardsticks import network_words
from pipeline.datasets.task import Measure
from pipeline.formatting import UNKNOWN, counted, number, p_text, percent, points, signed
from pipeline.report.sentences import caution, groups, headline, known, use
from pipeline.techniques.registry import BASELINE

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **values: Any) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        p=p_text, name=breakable, duration=_duration, number=number, unbroken=_unbroken
    )
    environment.globals.update(
        percent=percent,
        points=points,
        loss=_loss,
        loss_difference=_loss_difference,
        headline=headline,
        known=known,
        use=use,
        groups=groups,
        caution=caution,
        told_apart=told_apart,
        ranks=ranks,
        sentence=sentence,
        row_flags=flags,
        corrected_p=corrected_p,
        amount=amount,
        counted=counted,
        network_words=network_words,
        deviation=_deviation,
        BASELINE=BASELINE,
        SIGNIFICANCE=SIGNIFICANCE,
    )
    return environment.get_template(template).render(values)


def breakable(technique: str) -> Markup:
    """A technique's name that can break after an underscore, for narrow columns."""
    return Markup("_<wbr>").join(technique.split("_"))


def _deviation(measure: Measure, deviation: float) -> str:
    """A standard deviation or error, in points for a share, without a sign."""
    return measure.difference(deviation).lstrip("+")


def _loss(loss: float) -> str:
    return f"{loss:.4f}" if math.isfinite(loss) else UNKNOWN


def _loss_difference(difference: float) -> str:
    return signed(f"{difference:+.4f}") if math.isfinite(difference) else UNKNOWN


def _unbroken(text: str) -> Markup:
    """A text whose intervals, such as [75.60, 77.85], stay on one line."""
    return Markup(re.sub(r"\[.*?\]", r'<span class="unbroken">\g<0></span>', str(escape(text))))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"

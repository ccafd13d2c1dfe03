"""Whether a change fits an architecture and its data."""

from pipeline.datasets.task import CLASSIFICATION, Task
from pipeline.errors import nearest
from pipeline.techniques.changes import Change
from pipeline.techniques.part import Architecture
from pipeline.techniques.registry import TECHNIQUES
from pipeline.techniques.training import KernelStep


def misfit(
    change: Change, architecture: Architecture, images: bool = True, task: Task = CLASSIFICATION
) -> str | None:
    """Why a change does not fit an architecture on images or points; None if it does.

    `task`: of the data, unless the architecture has its own.
    """
    layers = architecture.hidden_layers
    for names, _ in change.at:
        if unknown := set(names) - {"first", *layers}:
            name = min(unknown)
            return f"names an unknown layer {name!r}{nearest(name, layers)}"
    for part in change.everywhere():
        if problem := part.misfit(architecture, images):
            return problem
        if part.needs_labels and not (architecture.own_task or task).labels:
            return f"needs class labels (for {part.slot}), but the task is a {task.kind}"
    try:
        return _misfit_of_layers(change, architecture)
    except ValueError as error:
        return str(error)


def _misfit_of_layers(change: Change, architecture: Architecture) -> str | None:
    """Why it does not fit single layers. Raises ValueError for parts of one slot on a layer."""
    for index, layer in enumerate(architecture.hidden_layers):
        for part in change.on(layer, index).own:
            if problem := part.misfit_of_layer(layer, architecture):
                return problem
    for part in change.everywhere():
        if isinstance(part, KernelStep):  # a member has one strength of each
            change.anywhere(type(part))
    return None


def fitting(architecture: Architecture, images: bool, task: Task = CLASSIFICATION) -> list[str]:
    """The registered techniques that fit an architecture on images or points."""
    return [
        name
        for name, technique in TECHNIQUES.items()
        if misfit(technique.lowest, architecture, images, task) is None
    ]

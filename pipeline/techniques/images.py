"""Parts that distort images at random during training, with one draw per image.

Pixels from outside an image are 0, as its background is.
"""

from dataclasses import dataclass

from pipeline.techniques.part import Architecture, Network, Part, check_share, reconstructs

OUTSIDE = {"fill_mode": "constant", "fill_value": 0.0}


@dataclass(frozen=True)
class _Distortion(Part):
    """Needs images."""

    images = True


@dataclass(frozen=True)
class _Move(_Distortion):
    """Moves the content of an image, so a network cannot reproduce the original image."""

    def misfit(self, architecture: Architecture, images: bool) -> str | None:
        """The target must stay valid for the moved image, as a label does."""
        problem = super().misfit(architecture, images)
        if problem or not reconstructs(architecture):
            return problem
        return (
            f"moves images (by {self.slot}), but got {architecture.architecture!r}, "
            "which must reproduce them unmoved"
        )


@dataclass(frozen=True)
class Shift(_Move):
    """Shifts by up to `share` in [0, 1) of the sides. Simard, Steinkraus and Platt 2003."""

    slot = "shift"

    share: float

    def __post_init__(self) -> None:
        check_share(self.slot, self.share)

    def on_network(self, network: Network) -> None:
        """Along both sides."""
        ends = (-self.share, self.share)
        options = {"height_factor": ends, "width_factor": ends, **OUTSIDE}
        network.augment("RandomTranslation", self.slot, **options)


@dataclass(frozen=True)
class Rotation(_Move):
    """Rotates by up to `share` in [0, 1) of a full turn. Simard, Steinkraus and Platt 2003."""

    slot = "rotation"
    order = 1

    share: float

    def __post_init__(self) -> None:
        check_share(self.slot, self.share)

    def on_network(self, network: Network) -> None:
        """About the centre."""
        options = {"factor": (-self.share, self.share), **OUTSIDE}
        network.augment("RandomRotation", self.slot, **options)


@dataclass(frozen=True)
class Zoom(_Move):
    """Scales up or down by up to `share` in [0, 1). Simonyan and Zisserman 2015."""

    slot = "zoom"
    order = 2

    share: float

    def __post_init__(self) -> None:
        check_share(self.slot, self.share)

    def on_network(self, network: Network) -> None:
        """About the centre."""
        options = {"height_factor": (-self.share, self.share), **OUTSIDE}
        network.augment("RandomZoom", self.slot, **options)


@dataclass(frozen=True)
class Flip(_Move):
    """Flips half of the images left to right. Krizhevsky, Sutskever and Hinton 2012."""

    slot = "flip"
    order = 3

    def on_network(self, network: Network) -> None:
        """Left and right."""
        network.augment("RandomFlip", self.slot, mode="horizontal")


@dataclass(frozen=True)
class Cutout(_Distortion):
    """Erases a rectangle of `share` in [0, 1) of the area. DeVries and Taylor 2017."""

    slot = "cutout"
    order = 4

    share: float

    def __post_init__(self) -> None:
        check_share(self.slot, self.share)

    def on_network(self, network: Network) -> None:
        """At a random position."""
        options = {"factor": (1.0, 1.0), "scale": (self.share, self.share)}
        fill = {"fill_value": 0.0, "value_range": (0, 1)}
        network.augment("RandomErasing", self.slot, **options, **fill)

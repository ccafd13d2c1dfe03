"""The range of a hyperparameter."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """The values of a hyperparameter worth searching, both ends included.

    `default`: where to start without a search, of the kind that its source or the articles use.
    """

    low: float
    high: float
    log: bool = False
    integer: bool = False
    default: float | None = None

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"`low` must be below `high`, but got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"`low` must be > 0 on a log scale, but got low={self.low}")
        if self.default is not None and not self.low <= self.default <= self.high:
            raise ValueError(
                f"`default` must lie in [{self.low}, {self.high}], but got {self.default}"
            )

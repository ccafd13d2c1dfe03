"""The range of a hyperparameter."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """The values of a hyperparameter to search, both ends included.

    `log`: on a logarithmic scale. `integer`: whole numbers only. `default`: a value to use without
    a search, typical of the technique's source or of the articles.
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

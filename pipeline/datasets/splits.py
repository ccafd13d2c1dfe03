"""Splits of examples from one file: stratified, in folds, with groups undivided, in order of time.

Rows of a group, and exact duplicates, are a unit that is never divided. All draws have parts of
equal sizes, since a row of a result file stands for one of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.datasets import PARTS, Ints, Part
from pipeline.errors import UserError

Parts = dict[Part, Ints]  # rows of each draw, (draws, n) int32
Quotas = dict[Part, int]
_ORDER: tuple[Part, ...] = ("test", "val", "train")  # the first ones are filled first


@dataclass(frozen=True)
class Sizes:
    """The number of rows in each part of a draw; `train`: at most, None for all that are left."""

    test: int
    val: int
    train: int | None = None


def repeated(
    strata: npt.ArrayLike, units: npt.ArrayLike, sizes: Sizes, draws: int, seed: int
) -> Parts:
    """The same rows split again and again, each part with its share of every stratum.

    `strata`, `units`: (n,) whole numbers, of each row its class and its group; a unit belongs to
    the stratum of its first row. A unit that is larger than what a part still lacks goes to another
    one, so parts may have fewer rows than asked for. Split i depends on `seed` and i, but for
    the common size.
    Raises UserError if the parts have more rows than there are.

    >>> parts = repeated([0] * 6 + [1] * 4, range(10), Sizes(test=2, val=3), draws=4, seed=0)
    >>> [(part, rows.shape) for part, rows in parts.items()]
    [('train', (4, 5)), ('val', (4, 3)), ('test', (4, 2))]
    """
    strata, units = np.asarray(strata), np.asarray(units)
    _check(sizes, len(strata))
    by_stratum = _units_by_stratum(strata, units)
    splits = [_split(by_stratum, sizes, _generator(seed, draw)) for draw in range(draws)]
    return _stacked(splits)


def folds(
    strata: npt.ArrayLike, units: npt.ArrayLike, sizes: Sizes, draws: int, seed: int
) -> Parts:
    """Cross-validation: the draws of one shuffle test every row once, but for those left over.

    Arguments as of `repeated`. A shuffle deals the rows to `rows // sizes.test` folds, each with
    its share of every stratum; draw i tests on `sizes.test` rows of fold `i % folds` of shuffle
    `i // folds`, and validates and trains on rows of the other folds. A draw depends on `seed` and
    its number alone, but for the common size.
    Raises UserError if there are fewer than two folds, groups too large for them, or too few rows.

    >>> parts = folds([0] * 6 + [1] * 4, range(10), Sizes(test=2, val=3), draws=5, seed=0)
    >>> sorted(parts["test"].reshape(-1).tolist())
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    strata, units = np.asarray(strata), np.asarray(units)
    count = len(strata) // max(1, sizes.test)
    if count < 2:
        raise UserError(
            f"`test` must be at most {len(strata) // 2} with `splits: folds`, half of the rows, "
            f"but got {sizes.test}"
        )
    by_stratum, inner_sizes = _units_by_stratum(strata, units), Sizes(0, sizes.val, sizes.train)
    splits: list[Parts] = []
    for draw in range(draws):
        shuffle, fold = divmod(draw, count)
        if fold == 0:
            dealt = _dealt(by_stratum, count, _generator(seed, shuffle))
            if not all(map(len, dealt)):
                raise UserError(
                    f"`splits: folds` needs groups that can be dealt to {count} folds, but with "
                    f"{len(np.unique(units))} groups one has no row"
                )
        rng = _generator(seed, shuffle, fold)
        test = rng.permutation(dealt[fold])[: sizes.test]
        others = np.concatenate([rows for at, rows in enumerate(dealt) if at != fold])
        _check(inner_sizes, len(others))
        inner = _split(_units_by_stratum(strata[others], units[others]), inner_sizes, rng)
        train, val = others[inner["train"]], others[inner["val"]]
        splits.append({"train": train, "val": val, "test": test})
    return _stacked(splits)


def one_test(
    strata: npt.ArrayLike, units: npt.ArrayLike, sizes: Sizes, draws: int, seed: int
) -> Parts:
    """One set of test rows, and draws that share no other row.

    Arguments as of `repeated`; `sizes.train` None: as many as there are.
    Raises UserError if the rows are too few for these draws.
    """
    strata, units = np.asarray(strata), np.asarray(units)
    own = (sizes.train or 1) + sizes.val
    if sizes.test + draws * own > len(strata):
        raise UserError(
            f"`train` + `validation` must be at most {max(0, len(strata) - sizes.test) // draws}, "
            f"the rows of each of {draws} draws beside {sizes.test} test rows, but got "
            f"{sizes.train or 1} + {sizes.val}"
        )
    outer = _split(_units_by_stratum(strata, units), Sizes(sizes.test, 0), _generator(seed, draws))
    rest = outer["train"]
    by_stratum = _units_by_stratum(strata[rest], units[rest])
    shares = _dealt(by_stratum, draws, _generator(seed, draws + 1))
    splits: list[Parts] = []
    for draw, share in enumerate(shares):
        rows = rest[share]
        inner = _split(
            _units_by_stratum(strata[rows], units[rows]),
            Sizes(0, sizes.val, sizes.train),
            _generator(seed, draw),
        )
        train, val = rows[inner["train"]], rows[inner["val"]]
        splits.append({"train": train, "val": val, "test": outer["test"]})
    return _stacked(splits)


def known_test(
    strata: npt.ArrayLike, units: npt.ArrayLike, test: Ints, sizes: Sizes, draws: int, seed: int
) -> Parts:
    """The rows but `test`, which is in every split, split again and again; see `repeated`."""
    strata, units = np.asarray(strata), np.asarray(units)
    others = np.setdiff1d(np.arange(len(strata)), test).astype(np.int32)
    parts = repeated(strata[others], units[others], Sizes(0, sizes.val, sizes.train), draws, seed)
    always = np.tile(test.astype(np.int32), (draws, 1))
    return {"train": others[parts["train"]], "val": others[parts["val"]], "test": always}


def in_order(times: npt.ArrayLike, sizes: Sizes, draws: int) -> Parts:
    """Windows of rows in order of time, each later than the one before.

    In every window the training rows come first and the test rows last, with no row between that is
    in none; the first window starts with the first row, the last one ends with the last.
    Raises UserError if a window would be longer than the rows.
    """
    order = np.argsort(np.asarray(times), kind="stable").astype(np.int32)
    _check(sizes, len(order))
    train = sizes.train or len(order) - sizes.val - sizes.test
    length = train + sizes.val + sizes.test
    starts = np.linspace(0, len(order) - length, draws).round().astype(int)
    windows = np.stack([order[start : start + length] for start in starts])
    parts = np.split(windows, [train, train + sizes.val], axis=1)
    return {"train": parts[0], "val": parts[1], "test": parts[2]}


def units_of(rows: Sequence[npt.NDArray[np.generic]]) -> Ints:
    """(n,) the number of each row's unit: rows that are linked by an equal value in an array.

    `rows`: arrays (n,), such as a group and a digest of the row. Rows of one group, and rows with
    equal digests, are of one unit, whatever chain of both connects them.

    >>> units_of([np.array(["a", "a", "b", "c"]), np.array([1, 2, 2, 3])])
    array([0, 0, 0, 1], dtype=int32)
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n, nodes = len(rows[0]), len(rows[0])
    sources, targets = [], []
    for array in rows:
        _, values = np.unique(array, return_inverse=True)
        sources.append(np.arange(n))
        targets.append(nodes + values)
        nodes += int(values.max()) + 1
    ends = np.concatenate(sources), np.concatenate(targets)
    graph = coo_array((np.ones(len(ends[0]), np.int8), ends), shape=(nodes, nodes))
    labels = connected_components(graph, directed=False)[1][:n]
    return np.unique(labels, return_inverse=True)[1].astype(np.int32)


def no_units(n: int) -> Ints:
    """Each row as a unit of its own."""
    return np.arange(n, dtype=np.int32)


def pooled(parts: Parts) -> tuple[Ints, Parts]:
    """A pool with a copy of its rows for each draw, which may scale them in its own way.

    Returns the file's row of each row of the pool, by draw, (draws, n), and the pool's rows of each
    part, (draws, n).

    >>> train, val, test = np.array([[3], [5]]), np.array([[4], [3]]), np.array([[5], [4]])
    >>> file_rows, pool = pooled({"train": train, "val": val, "test": test})
    >>> file_rows.tolist(), pool["test"].tolist()
    ([[3, 4, 5], [5, 3, 4]], [[2], [5]])
    """
    file_rows = np.concatenate([parts[part] for part in PARTS], axis=1)
    rows = np.arange(file_rows.size, dtype=np.int32).reshape(file_rows.shape)
    train, val, test = np.split(rows, np.cumsum([parts[part].shape[1] for part in PARTS])[:-1], 1)
    return file_rows, {"train": train, "val": val, "test": test}


def digests(x: npt.NDArray[np.generic]) -> npt.NDArray[np.int_]:
    """(n,) numbers, equal for equal examples x (n, ...)."""
    flat = np.ascontiguousarray(x.reshape(len(x), -1))
    whole = flat.view(f"V{flat.shape[1] * flat.itemsize}")[:, 0]
    return np.asarray(np.unique(whole, return_inverse=True)[1], np.int_)


def _check(sizes: Sizes, rows: int) -> None:
    asked = (sizes.train or 1) + sizes.val + sizes.test
    if asked > rows:
        raise UserError(
            f"`train` + `validation` + `test` must be at most the {rows} rows, but got "
            f"{sizes.train or 1} + {sizes.val} + {sizes.test}"
        )


def _generator(seed: int, *numbers: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=numbers))


@dataclass(frozen=True)
class _Stratum:
    """The units of one stratum: those of several rows, and the rows that are units of their own."""

    large: tuple[Ints, ...]
    single: Ints

    @property
    def size(self) -> int:
        """The number of rows."""
        return len(self.single) + sum(map(len, self.large))


def _units_by_stratum(
    strata: npt.NDArray[np.generic], units: npt.NDArray[np.generic]
) -> list[_Stratum]:
    """The units of each stratum, which is that of the unit's first row."""
    _, first, unit, sizes = np.unique(
        units, return_index=True, return_inverse=True, return_counts=True
    )
    of_unit, large = strata[first], np.flatnonzero(sizes > 1)
    order = np.argsort(unit, kind="stable").astype(np.int32)
    several = order[sizes[unit[order]] > 1]  # the rows of large units, one unit after another
    pieces = np.split(several, np.cumsum(sizes[large])[:-1]) if len(large) else []
    rows = dict(zip(large.tolist(), pieces, strict=True))
    return [
        _Stratum(
            tuple(rows[at] for at in large[of_unit[large] == stratum].tolist()),
            np.sort(first[(of_unit == stratum) & (sizes == 1)]).astype(np.int32),
        )
        for stratum in np.unique(of_unit)
    ]


def _split(strata: Sequence[_Stratum], sizes: Sizes, rng: np.random.Generator) -> Parts:
    """Rows of each part, (n,), in random order."""
    counts = np.array([stratum.size for stratum in strata])
    test = _quotas(counts, sizes.test)
    val = _quotas(counts - test, sizes.val)
    room = counts - test - val
    # Without a bound, training takes whatever is in no other part.
    bound = None if sizes.train is None else min(sizes.train, int(room.sum()))
    train = counts if bound is None else _quotas(room, bound)
    chosen: dict[Part, list[Ints]] = {part: [] for part in _ORDER}
    for at, stratum in enumerate(strata):
        quotas: Quotas = {"test": int(test[at]), "val": int(val[at]), "train": int(train[at])}
        for part, rows in _filled(stratum, quotas, rng).items():
            chosen[part].extend(rows)
    return {
        part: rng.permutation(np.concatenate([np.empty(0, np.int32), *chosen[part]]))
        for part in PARTS
    }


def _quotas(counts: npt.NDArray[np.int_], total: int) -> npt.NDArray[np.int_]:
    """Whole numbers that add up to `total`, as proportional to the counts as can be."""
    exact = counts * (total / max(1, counts.sum()))
    quotas: npt.NDArray[np.int_] = np.floor(exact).astype(np.int_)
    largest = np.argsort(quotas - exact, kind="stable")[: total - quotas.sum()]
    quotas[largest] += 1
    return quotas


def _filled(stratum: _Stratum, quotas: Quotas, rng: np.random.Generator) -> dict[Part, list[Ints]]:
    """The rows of a stratum in each part: large units first, then single rows fill what is left."""
    filled: dict[Part, list[Ints]] = {part: [] for part in _ORDER}
    for at in rng.permutation(len(stratum.large)):
        unit = stratum.large[at]
        part = next((part for part in _ORDER if len(unit) <= quotas[part]), None)
        if part is not None:
            filled[part].append(unit)
            quotas[part] -= len(unit)
    single = rng.permutation(stratum.single)
    for part in _ORDER:
        taken, single = single[: quotas[part]], single[quotas[part] :]
        filled[part].append(taken)
    return filled


def _dealt(strata: Sequence[_Stratum], hands: int, rng: np.random.Generator) -> list[Ints]:
    """All rows, dealt to so many hands, each with its share of every stratum; units undivided."""
    dealt: list[list[Ints]] = [[] for _ in range(hands)]
    sizes = np.zeros(hands, int)
    for stratum in strata:
        for at in rng.permutation(len(stratum.large)):
            hand = int(sizes.argmin())
            dealt[hand].append(stratum.large[at])
            sizes[hand] += len(stratum.large[at])
        # The first shares are the larger ones.
        shares = np.array_split(rng.permutation(stratum.single), hands)
        for hand, share in zip(np.argsort(sizes, kind="stable"), shares, strict=True):
            dealt[hand].append(share)
            sizes[hand] += len(share)
    return [np.concatenate(hand).astype(np.int32) for hand in dealt]


def _stacked(splits: Sequence[Parts]) -> Parts:
    """Parts of equal sizes in all splits, (draws, n); what is above the least size is left out."""
    sizes = {part: min(len(split[part]) for split in splits) for part in PARTS}
    return {
        part: np.stack([split[part][:size] for split in splits]).astype(np.int32)
        for part, size in sizes.items()
    }

"""List the techniques: what each adds, its formula, its source, and what is searched."""

import argparse

from pipeline.techniques import TECHNIQUES, Range


def main(argv: list[str]) -> None:
    """Prints the registry; the ranges are the defaults, which params.yaml can replace."""
    parser = argparse.ArgumentParser(prog="python -m pipeline techniques", description=__doc__)
    parser.parse_args(argv)
    for name, technique in TECHNIQUES.items():
        print(f"{name}: {technique.summary}")
        print(f"  {technique.formula}" + (f"  ({technique.source})" if technique.source else ""))
        for hyperparameter, found in technique.search.items():
            print(f"  {hyperparameter}: {describe(found)}")


def describe(found: Range) -> str:
    """A range in words."""
    kinds = [kind for kind, is_so in (("whole", found.integer), ("log", found.log)) if is_so]
    return f"{found.low:g} to {found.high:g}" + (f" ({', '.join(kinds)})" if kinds else "")

"""Apply a DVC experiment, as `dvc exp apply`, in a project some of whose studies never ran.

`dvc exp apply` itself ends with an error about every file that no stage has made yet.
"""

import argparse
import logging

from pipeline.errors import UserError


def main(argv: list[str]) -> None:
    """Gives params.yaml, dvc.lock and results the experiment's content.

    Raises UserError if DVC refuses, for example because there is no such experiment.
    """
    parser = argparse.ArgumentParser(prog="python -m pipeline apply", description=__doc__)
    parser.add_argument("experiment", help="its name, as `dvc exp show` has it")
    name = parser.parse_args(argv).experiment
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    logging.getLogger("dvc_data").setLevel(logging.ERROR)  # a line for each of those files
    try:
        with Repo() as repo:
            repo.experiments.apply(name, allow_missing=True)
            repo.scm.add("dvc.lock")  # untracked, later experiments would not know it
    except DvcException as error:
        raise UserError(f"DVC cannot apply {name!r}: {error}") from error

"""`python -m pipeline STAGE …` runs one stage; a user's mistake ends in a message."""

import ast
import importlib
import pkgutil
import sys
from pathlib import Path

from pipeline import stages
from pipeline.errors import UserError


def usage() -> str:
    """The stages, with the first line of their docstrings; read, not imported, to be quick."""
    lines = ["usage: python -m pipeline STAGE [arguments]", ""]
    for module in pkgutil.iter_modules(stages.__path__):
        source = Path(stages.__path__[0], f"{module.name}.py").read_text(encoding="utf-8")
        summary = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
        lines.append(f"  {module.name:<11} {summary}")
    return "\n".join([*lines, "", "python -m pipeline STAGE --help tells more."])


def main(argv: list[str]) -> int:
    """Runs the stage that `argv` names and returns the exit code."""
    names = [module.name for module in pkgutil.iter_modules(stages.__path__)]
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return 0 if argv else 2
    if argv[0] not in names:
        print(f"unknown stage {argv[0]!r}; expected one of {', '.join(names)}", file=sys.stderr)
        return 2
    stage = importlib.import_module(f"pipeline.stages.{argv[0]}")
    try:
        stage.main(argv[1:])
    except UserError as error:
        print(f"{argv[0]}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n{argv[0]}: interrupted; what was finished is kept", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

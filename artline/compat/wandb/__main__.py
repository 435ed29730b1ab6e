"""``python -m artline.compat.wandb train.py …``: run a script in which ``import wandb`` is Artline."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from types import CodeType, ModuleType

from artline.compat.wandb.alias import install

USAGE = """\
usage: python -m artline.compat.wandb [-m MODULE | -c CODE | SCRIPT] [ARGUMENT ...]

Run a Python program, unchanged, with Artline in the place of wandb: in it and in the processes it starts,
`import wandb` is Artline, and so is the distribution `wandb` for libraries that ask whether it is installed.
Runs go to the store that `art status` shows; WANDB_PROJECT, WANDB_NAME, WANDB_MODE and so on count.

  python -m artline.compat.wandb train.py --epochs 3
  python -m artline.compat.wandb -m accelerate.commands.launch train.py
"""


def main(arguments: list[str]) -> int:
    """Run what the arguments name; return the exit status where it does not set its own."""
    if arguments and arguments[0] in ("-h", "--help"):
        sys.stdout.write(USAGE)
        return 0
    option = arguments[0] if arguments and arguments[0] in ("-m", "-c") else ""
    if len(arguments) <= bool(option) or (
        not option and arguments[0].startswith("-") and arguments[0] != "-"
    ):
        sys.stderr.write(USAGE)
        return 2
    what, rest = arguments[bool(option)], arguments[bool(option) + 1 :]
    install()
    program = ModuleType("__main__")
    program.__dict__["__builtins__"] = __builtins__
    try:
        if option == "-m":
            code = _module(program, what)
            sys.argv = [str(program.__file__), *rest]
        elif option == "-c":
            code = compile(what, "<string>", "exec")
            sys.argv = ["-c", *rest]
        else:
            code = _script(program, what)
            sys.argv = [what, *rest]
    except (OSError, ImportError, SyntaxError) as error:
        sys.stderr.write(f"artline: cannot run {option} {what}: {error}\n".replace("  ", " "))
        return 2
    sys.modules["__main__"] = program  # it stays: what ends the process, and pickles, look there
    exec(code, program.__dict__)
    return 0


def _script(program: ModuleType, path: str) -> CodeType:
    """Return the code of a script, or of the ``__main__.py`` in a folder, and make its folder importable."""
    file = os.path.join(path, "__main__.py") if os.path.isdir(path) else path
    with open(file, "rb") as stream:
        source = stream.read()
    program.__file__ = os.path.abspath(file)
    sys.path[0] = os.path.dirname(program.__file__)
    return compile(source, file, "exec")


def _module(program: ModuleType, name: str) -> CodeType:
    """Return the code of a module, or of a package's ``__main__``, as ``python -m`` does."""
    spec = find_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:
        spec = find_spec(f"{name}.__main__")
    code = None if spec is None or spec.loader is None else spec.loader.get_code(spec.name)  # type: ignore[attr-defined]  # those that have code have it
    if spec is None or code is None:
        raise ImportError(f"no module named '{name}' with code to run")
    program.__file__, program.__spec__, program.__package__ = spec.origin, spec, spec.parent
    program.__loader__ = spec.loader
    assert isinstance(code, CodeType)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

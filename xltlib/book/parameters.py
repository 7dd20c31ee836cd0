"""What a notebook needs before its work: the root, its parameters checked, what was built.

papermill only warns of a parameter that a notebook does not have, and then runs with the default:
a misspelt name gives the wrong page without a word. `check_parameters` stops such a run at the
first cell.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import yaml

from xltlib.errors import unknown
from xltlib.io import carried, whole

if TYPE_CHECKING:
    from xltlib.train.config import Experiment

_Spec = type | tuple[Any, ...] | Callable[[Any], Any]

# tqdm wants widgets in a notebook; bars of text do, and the page shows neither
warnings.filterwarnings("ignore", message="IProgress not found")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

_INJECTED = "# Parameters"  # papermill's first line of the cell it puts in
_OURS = ("PAPERMILL_",)  # names that papermill itself may inject
_PLAIN = (str, int, float, bool, list, tuple, dict, set, type(None))
_SHELL = ("In", "Out")  # IPython's own plain names
_NAMES = {str: "text", int: "a whole number", float: "a number", list: "a list", bool: "true/false"}


def root() -> Path:
    """Go to the repository, so that a notebook runs from any folder inside it; returns its path.

    Without a repository the kept scores and experiments that an installed package carries are put
    into this folder, once.

    Raises
    ------
    FileNotFoundError
        If neither this folder, nor one above, nor the installed package's has `experiments/`.
    """
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[2]):
        if any((folder / "experiments").glob("*.yml")):
            os.chdir(folder)
            return folder
    for name in ("experiments", "book"):
        if (kept := carried(Path(name))).is_dir() and not Path(name).exists():
            with whole(here / name) as temporary:
                shutil.copytree(kept, temporary)
            print(f"Put {name}/ of the book, 4 MB in all, into {here}")
    if any(Path("experiments").glob("*.yml")):
        return here
    raise FileNotFoundError(
        f"no folder experiments/ with .yml files in {here} or above it: start Jupyter or papermill "
        "inside the repository"
    )


# ---------------------------------------------------------------- parameters


def check_parameters(namespace: Mapping[str, Any], /, **allowed: _Spec) -> SimpleNamespace:
    """The parameters of a notebook as its check cell found them, each checked.

    Parameters
    ----------
    namespace : mapping
        ``globals()`` of the notebook.
    **allowed
        Every parameter of the notebook: a type (`str`, `int`, `float`, `bool`, `list`), a tuple of
        the values allowed, or a function that returns the value to use and raises ValueError
        (`experiment=load`, `source=key`, `targets=each(key)`, `steps=at_least(0)`).

    Returns
    -------
    SimpleNamespace
        One attribute per parameter, as the types and functions have made it.

    Raises
    ------
    ValueError
        A parameter that the notebook does not have, or a value that is not allowed; the message
        names what is allowed, nearest first.
    """
    for given in _assigned(namespace, set(allowed)):
        if given not in allowed:
            cure = "Correct the name after -p, or in the cell of parameters."
            raise unknown("parameter", given, allowed, cure)
    checked = SimpleNamespace()
    for parameter, spec in allowed.items():
        if parameter not in namespace:
            raise ValueError(f"parameter {parameter!r} has no value: run the cell of parameters")
        setattr(checked, parameter, _checked(parameter, namespace[parameter], spec))
    return checked


def _assigned(namespace: Mapping[str, Any], declared: set[str]) -> list[str]:
    """Names given a value as parameters: by papermill's cell, or in the cell of parameters.

    IPython keeps the text of the cells that ran (`In`), which tells a parameter from a variable
    of a later cell when the check is run once more. Without it every plain value counts.
    """
    cells = namespace.get("In")
    if isinstance(cells, list):
        found = [name for text in cells for name in _parameters_in(text, declared)]
    else:
        plain = [k for k, v in namespace.items() if isinstance(v, _PLAIN) and k not in _SHELL]
        found = [k for k in plain if not k.startswith("_")]
    return [name for name in dict.fromkeys(found) if not name.startswith(_OURS)]


def _parameters_in(text: str, declared: set[str]) -> list[str]:
    """Names that a cell of nothing but `name = value` lines assigns, if it sets parameters."""
    try:
        body = ast.parse(text).body
    except SyntaxError:  # a line for the shell
        return []
    names = []
    for line in body:
        target = line.targets[0] if isinstance(line, ast.Assign) else getattr(line, "target", None)
        if not isinstance(line, ast.Assign | ast.AnnAssign) or not isinstance(target, ast.Name):
            return []
        names.append(target.id)
    return names if text.startswith(_INJECTED) or declared & set(names) else []


def _checked(parameter: str, value: Any, spec: _Spec) -> Any:
    if isinstance(spec, tuple):
        if value not in spec:
            raise unknown(f"value of {parameter}", value, spec, f"Give {parameter} one of these.")
        return value
    if isinstance(spec, type):
        return _typed(parameter, value, spec)
    try:
        return spec(value)
    except (ValueError, TypeError, AttributeError) as error:  # key(3) has no .strip
        why = error if isinstance(error, ValueError) else "not of the right kind"
        raise ValueError(f"parameter {parameter} = {value!r}: {why}") from None


def _listed(value: Any) -> Any:
    """A list as papermill's -p hands it over, a text of JSON or Python; anything else as it is."""
    text = value.strip() if isinstance(value, str) else ""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if found is None and re.fullmatch(r"\[[^][]*\]|\([^()]*\)", text):  # ('Finnish', 'no')
        with contextlib.suppress(yaml.YAMLError):
            found = yaml.load(f"[{text[1:-1]}]", yaml.BaseLoader)  # all of it text: no is Norwegian
    return found if isinstance(found, list) else value


def _typed(parameter: str, value: Any, kind: type) -> Any:
    value = _listed(value) if kind is list else value
    fits = isinstance(value, (int, float) if kind is float else kind)
    if not fits or (isinstance(value, bool) and kind is not bool):
        raw = f" (papermill: -r {parameter} VALUE keeps it text)" if kind is str else ""
        wanted = _NAMES.get(kind, kind.__name__)
        raise ValueError(f"parameter {parameter} must be {wanted}{raw}, got {value!r}")
    return kind(value)


def each(spec: _Spec) -> Callable[[Any], list[Any]]:
    """A list, every entry of it checked; text is JSON or has commas: ``"deu, rus"``."""

    def inside(value: Any) -> list[Any]:
        value = _listed(value)
        entries = value.split(",") if isinstance(value, str) else value
        if not isinstance(entries, list | tuple):
            raise ValueError("give a list, or text with commas")
        entries = [e.strip() if isinstance(e, str) else e for e in entries]
        return [_checked("entry", e, spec) for e in entries if e != ""]

    return inside


def optional(spec: _Spec) -> Callable[[Any], Any]:
    """A value that may be left out: an empty text stays as it is."""
    return lambda value: value if value == "" else _checked("value", value, spec)


def at_least(low: float, kind: type = int) -> Callable[[Any], Any]:
    """A number (whole unless `kind` is float) not under `low`."""

    def inside(value: Any) -> Any:
        number = _typed("value", value, kind)
        if not number >= low:
            raise ValueError(f"must be {low} or more")
        return number

    return inside


def language_of(codes: Iterable[str]) -> Callable[[Any], str]:
    """A language, in any code or by its English name, that is among `codes`."""
    from xltlib.languages import among as key_among
    from xltlib.languages import name

    allowed = tuple(codes)

    def inside(value: Any) -> str:
        found = key_among(value, allowed)
        if found not in allowed:
            names = [f"{code} ({name(code)})" for code in allowed]
            raise unknown("language measured here", value, names, "Choose one of these.")
        return found

    return inside


def built(exp: Experiment, *names: str) -> Path:
    """Path of something made of an experiment, ``built(exp, "scores.parquet")``, if it is there.

    Raises
    ------
    FileNotFoundError
        If not, with the command that makes it.
    """
    path = exp.folder.joinpath(*names)
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is not there yet: `make scores EXPERIMENT={exp.name}` "
            f"(or `xlt run {exp.name}`) makes it"
        )
    return path

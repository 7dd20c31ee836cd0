"""What a notebook needs around its work: the root, its parameters checked, its tables, captions.

papermill only warns of a parameter that a notebook does not have, and then runs with the default:
a misspelt name gives the wrong page without a word. `check_parameters` stops such a run at the
first cell.
"""

from __future__ import annotations

import ast
import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from xltlib.errors import unknown

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import HTML, Markdown

    from xltlib.train.config import AnyExperiment

Spec = type | tuple[Any, ...] | Callable[[Any], Any]

INJECTED = "# Parameters"  # papermill's first line of the cell it puts in
OURS = ("PAPERMILL_",)  # names that papermill itself may inject
PLAIN = (str, int, float, bool, list, tuple, dict, set, type(None))
SENTINEL = re.compile(r"<extra_id_(\d+)>")
SHELL = ("In", "Out")  # IPython's own plain names
NAMES = {str: "text", int: "a whole number", float: "a number", list: "a list", bool: "true/false"}


def root() -> Path:
    """Go to the repository, so that a notebook runs from any folder inside it; returns its path.

    Raises
    ------
    FileNotFoundError
        If neither this folder, nor one above, nor the installed package's has `experiments/`.
    """
    # tqdm wants widgets in a notebook; bars of text do, and the page shows neither
    warnings.filterwarnings("ignore", message="IProgress not found")
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[2]):
        if any((folder / "experiments").glob("*.yml")):
            os.chdir(folder)
            return folder
    raise FileNotFoundError(
        f"no folder experiments/ with .yml files in {here} or above it: start Jupyter or papermill "
        "inside the repository"
    )


# ---------------------------------------------------------------- parameters


def check_parameters(namespace: Mapping[str, Any], /, **allowed: Spec) -> SimpleNamespace:
    """The parameters of a notebook as its check cell found them, each checked.

    Parameters
    ----------
    namespace : mapping
        ``globals()`` of the notebook.
    **allowed
        Every parameter of the notebook: a type (`str`, `int`, `float`, `bool`, `list`), a tuple of
        the values allowed, or a function that returns the value to use and raises ValueError
        (`experiment=load`, `source=iso3`, `targets=each(iso3)`, `steps=at_least(0)`).

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
    for given in assigned(namespace, set(allowed)):
        if given not in allowed:
            cure = "Correct the name after -p, or in the cell of parameters."
            raise unknown("parameter", given, allowed, cure)
    checked = SimpleNamespace()
    for parameter, spec in allowed.items():
        if parameter not in namespace:
            raise ValueError(f"parameter {parameter!r} has no value: run the cell of parameters")
        setattr(checked, parameter, _checked(parameter, namespace[parameter], spec))
    return checked


def assigned(namespace: Mapping[str, Any], declared: set[str]) -> list[str]:
    """Names given a value as parameters: by papermill's cell, or in the cell of parameters.

    IPython keeps the text of the cells that ran (`In`), which tells a parameter from a variable
    of a later cell when the check is run once more. Without it every plain value counts.
    """
    cells = namespace.get("In")
    if isinstance(cells, list):
        found = [name for text in cells for name in _parameters_in(text, declared)]
    else:
        plain = [k for k, v in namespace.items() if isinstance(v, PLAIN) and k not in SHELL]
        found = [k for k in plain if not k.startswith("_")]
    return [name for name in dict.fromkeys(found) if not name.startswith(OURS)]


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
    return names if text.startswith(INJECTED) or declared & set(names) else []


def _checked(parameter: str, value: Any, spec: Spec) -> Any:
    if isinstance(spec, tuple):
        if value not in spec:
            raise unknown(f"value of {parameter}", value, spec, f"Give {parameter} one of these.")
        return value
    if isinstance(spec, type):
        return _typed(parameter, value, spec)
    try:
        return spec(value)
    except (ValueError, TypeError, AttributeError) as error:  # iso3(3) has no .strip
        raise ValueError(f"parameter {parameter} = {value!r}: {error}") from None


def _typed(parameter: str, value: Any, kind: type) -> Any:
    fits = isinstance(value, (int, float) if kind is float else kind)
    if not fits or (isinstance(value, bool) and kind is not bool):
        raw = f" (papermill: -r {parameter} VALUE keeps it text)" if kind is str else ""
        wanted = NAMES.get(kind, kind.__name__)
        raise ValueError(f"parameter {parameter} must be {wanted}{raw}, got {value!r}")
    return kind(value)


def each(spec: Spec) -> Callable[[Any], list[Any]]:
    """A list, every entry of it checked; text is a list with commas: ``"deu, rus"``."""

    def inside(value: Any) -> list[Any]:
        entries = value.split(",") if isinstance(value, str) else value
        if not isinstance(entries, list | tuple):
            raise ValueError("give a list, or text with commas")
        entries = [e.strip() if isinstance(e, str) else e for e in entries]
        return [_checked("entry", e, spec) for e in entries if e != ""]

    return inside


def optional(spec: Spec, empty: Any = "") -> Callable[[Any], Any]:
    """A value that may be left out: `empty` stays as it is."""
    return lambda value: value if value == empty else _checked("value", value, spec)


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
    from xltlib.languages import iso3, name

    among = tuple(codes)

    def inside(value: Any) -> str:
        found = iso3(value)
        if found not in among:
            names = [f"{code} ({name(code)})" for code in among]
            raise unknown("language of the experiment", value, names, "Choose one of these.")
        return found

    return inside


# ---------------------------------------------------------------- tables and captions


def text_table(frame: pd.DataFrame, texts: Sequence[str] = (), codes: Sequence[str] = ()) -> HTML:
    """A table of texts in many scripts, each cell in its own direction, sentinels short.

    Parameters
    ----------
    frame : DataFrame
        Shown whole, without its index. ``<extra_id_3>`` is written ⟨3⟩.
    texts : sequence of str
        Columns that are in the language of the row.
    codes : sequence of str
        That language, one code a row: a screen reader then reads them in it.
    """
    from IPython.display import HTML

    tags = [_tag(code) for code in codes] or [""] * len(frame)
    start = 'scope="col" style="text-align: start"'
    head = "".join(f"<th {start}>{escape(str(c))}</th>" for c in frame.columns)
    body = []
    for tag, row in zip(tags, frame.astype(str).to_dict("records"), strict=True):
        cells = []
        for column, value in row.items():
            own = f' lang="{tag}"' if column in texts and tag else ""
            shown = escape(SENTINEL.sub(r"⟨\1⟩", value))
            cells.append(f'<td dir="auto"{own}>{shown}</td>')
        body.append(f"<tr>{''.join(cells)}</tr>")
    rows = "\n".join(body)
    return HTML(
        f'<table class="dataframe"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    )


def _tag(code: str) -> str:
    """The BCP 47 tag of a language code."""
    from xltlib.languages import language

    known = language(code)
    return (known.locale or known.code).replace("_", "-")


def built(exp: AnyExperiment, *names: str) -> Path:
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


def caption(
    text: str, exp: AnyExperiment | None = None, rows: pd.DataFrame | None = None
) -> Markdown:
    """What a figure shows, and the run it came from, as text under it.

    Parameters
    ----------
    text : str
        What to see (Markdown); numbers in it are put there by the caller's code.
    exp : Experiment, optional
        Named as the origin.
    rows : DataFrame, optional
        The rows of the scores table that the figure shows: models, seeds and n_test are theirs.
    """
    from IPython.display import Markdown

    return Markdown(f"{text} {origin(exp, rows)}".strip())


def origin(exp: AnyExperiment | None = None, rows: pd.DataFrame | None = None) -> str:
    """The sentence that says which run a figure came from."""
    parts = [f"experiment `{exp.name}`"] if exp else []
    if rows is not None and len(rows):
        models = sorted(set(rows["model"])) if "model" in rows else []
        parts += [f"{_plural('model', models)} {', '.join(f'`{m}`' for m in models)}"] * bool(
            models
        )
        if "seed" in rows:
            parts.append(_count(rows["seed"].nunique(), "seed"))
        if "n_test" in rows:
            low, high = int(rows["n_test"].min()), int(rows["n_test"].max())
            parts.append(f"n = {low if low == high else f'{low} to {high}'} test items a cell")
    return f"*From {'; '.join(parts)}.*" if parts else ""


def _plural(word: str, things: Sequence[object]) -> str:
    return word if len(things) == 1 else f"{word}s"


def _count(n: int, word: str) -> str:
    return f"{n} {word}{'' if n == 1 else 's'}"

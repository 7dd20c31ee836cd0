"""The tables of a chapter: gathered, computed task by task, and put on the page.

The chapters read an experiment or a person's own table of scores in the same way (`gather`). What
a small table cannot give is said instead of shown (`attempt`, `show`). Every number on a page has
its interval (`in_words`), every figure says which run it came from (`caption`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from xltlib import reading
from xltlib.book import kept, words
from xltlib.book.inputs import joined
from xltlib.book.parameters import built
from xltlib.errors import reason, unknown
from xltlib.explain.regression import SINGULAR
from xltlib.languages import language, similarity
from xltlib.scores import one_metric, read, select, transfer

if TYPE_CHECKING:
    from IPython.display import HTML, Markdown

    from xltlib.train.config import Experiment

_ALL = "all"
_TOGETHER = "all together"
MODEL = "tiny"  # the model whose transfer is asked about, where a table has it
_CONTROLS = ("tiny-scratch", "tiny-shuffled", "plain-shuffled", "char-ngram")
_SENTINEL = re.compile(r"<extra_id_(\d+)>")
_HEADS = {"p_mrqap": "p (MRQAP)", "p_holm": "p (Holm)", "r2": "R²"}
_INTERVAL = re.compile(r"[−\d.,]+ \([−\d.,]+ to [−\d.,]+\)|^[−\d.,]+ to [−\d.,]+$")


# ---------------------------------------------------------------- gathered


@dataclass(frozen=True)
class Tables:
    """What a chapter reads.

    ``scores`` are the rows of the chosen tasks, one metric each, ``every`` those of all metrics;
    ``controls`` are other models measured from two sources or more. They come from an
    ``experiment``, or from a ``file`` of one's own.
    """

    scores: pd.DataFrame
    every: pd.DataFrame
    pairs: pd.DataFrame
    model: str
    controls: tuple[str, ...]
    tasks: tuple[str, ...]
    experiment: Experiment | None = None
    file: str = ""

    @property
    def zero_shot(self) -> pd.DataFrame:
        """Rows of the model between two different languages."""
        return transfer(select(self.scores, model=self.model))

    @property
    def chance(self) -> dict[str, float]:
        """What guessing scores, for each task where the table says so."""
        if "chance" not in self.scores:
            return {}
        means = self.scores.groupby("task")["chance"].mean().dropna()
        return {str(task): float(value) for task, value in means.items()}

    def size(self, least: int = 8) -> Markdown:
        """How many languages there are; a warning where they are too few to explain anything."""
        from IPython.display import Markdown

        rows = self.zero_shot
        n = f"{rows['source'].nunique()} sources and {rows['target'].nunique()} targets"
        if rows[["source", "target"]].nunique().min() >= least:
            tasks = _count(len(self.tasks), "task")
            return Markdown(f"{n}, {tasks}, model `{self.model}`. {self.seeds()}")
        return Markdown(
            f"**{n}: fewer than {least} languages cannot tell measures of similarity apart.** What "
            f"follows shows that the analysis runs, and nothing about languages. {self.seeds()}"
        )

    def seeds(self) -> str:
        """What the seeds of the scores vary, and which models have one only (Markdown)."""
        each = self.scores.groupby("model")["seed"].nunique()
        once = ", ".join(f"`{m}`" for m in each.index[each == 1])
        alone = f"One seed, and so no error over seeds: {once}. " if once else ""
        exp = self.experiment
        if exp is None or exp.model.kind == "tiny" and len(exp.pretrain.seeds) > 1:
            return alone.strip()
        return (
            f"{alone}The {each.max()} seeds share one pre-trained model: what another pre-training "
            "would change is in no interval."
        )

    def caption(self, text: str, rows: pd.DataFrame | None = None) -> Markdown:
        """What to see, and the run it came from (`caption`)."""
        shown = self.zero_shot if rows is None else rows
        if self.experiment is None:
            text = f"{text} Scores of `{self.file}`."
        if shown["n_test"].isna().all():  # a table of one's own may not say
            shown = shown.drop(columns="n_test")
        pairs = transfer(shown).drop_duplicates(["task", "source", "target"])
        sizes = sorted(set(pairs["task"].value_counts()))
        if sizes:  # none where all are few-shot
            n = _count(sizes[-1], "pair")
            n = f"{sizes[0]:,} to {n}" if len(sizes) > 1 else n
            text = f"{text} {n}{' a task' * (pairs['task'].nunique() > 1)}."
        return caption(text, self.experiment, shown)

    def figure(
        self,
        draw: Callable[..., Any],
        table: pd.DataFrame,
        text: str,
        unable: Sequence[str] = (),
        rows: pd.DataFrame | None = None,
        **how: Any,
    ) -> None:
        """Display ``draw(table)`` and its caption, or only why there is nothing to draw."""
        from IPython.display import display

        show(draw, table, (), **how)
        if len(table):
            display(self.caption(text, rows))
        show(draw, table.iloc[:0], unable)


def gather(
    experiment: Experiment, scores: str = "", model: str = "", task: str = _ALL, folder: str = ""
) -> Tables:
    """The tables of an experiment, or of the file `scores` with similarity from lang2vec.

    With `folder` those of an encoder: the experiment's if it has one and has run, else the ones
    kept there (`kept.encoded`), with lexical similarity kept beside them.

    Raises
    ------
    ValueError
        An unknown model or task, or a file that is no table of scores.
    FileNotFoundError
        An experiment that has not run yet, with the command that runs it.
    """
    if scores:
        every = read(scores)
        pairs = similarity.pairs(sorted({*every["source"], *every["target"]}))
        pairs = similarity.of_model(pairs, _model(one_metric(every), model))
    elif folder:
        experiment, place = kept.encoded(experiment, folder)
        every, model = read(place / "scores.parquet"), model or experiment.model.label
        pairs = similarity.pairs(sorted({*every["source"], *every["target"]}))
        pairs = similarity.of_model(pairs, model)
        if (words := place / "lexical.parquet").is_file():
            pairs = joined(pairs, reading.pairs(words))
    else:
        every = read(built(experiment, "scores.parquet"))
        pairs = reading.pairs(built(experiment, "pairs.parquet"))
    table = one_metric(every)
    chosen = _model(table, model)
    tasks = _tasks(select(table, model=chosen), task)
    table = table[table["task"].isin(tasks)].sort_values("task", kind="stable", ignore_index=True)
    every = every[every["task"].isin(tasks)].reset_index(drop=True)
    origin = (None, Path(scores).name) if scores else (experiment, "")
    return Tables(table, every, pairs, chosen, _controls(table, chosen), tasks, *origin)


def _model(scores: pd.DataFrame, wanted: str) -> str:
    found = sorted(scores["model"].unique())
    if wanted in found:
        return wanted
    if wanted:
        raise unknown("model", wanted, found, "Choose one of the scores table.")
    if MODEL in found or len(found) == 1:
        return MODEL if MODEL in found else str(found[0])
    raise ValueError(f"the scores hold several models, {', '.join(found)}: say which one")


def _tasks(scores: pd.DataFrame, wanted: str) -> tuple[str, ...]:
    found = sorted(map(str, scores["task"].unique()))
    if wanted == _ALL:
        return tuple(found)
    if wanted not in found:
        raise unknown("task", wanted, [_ALL, *found], "Choose one of the scores table.")
    return (wanted,)


def _controls(scores: pd.DataFrame, model: str) -> tuple[str, ...]:
    """Models beside the one asked about for which a mean over languages has an interval."""
    rows = transfer(scores)
    enough = rows.groupby(["model", "task"])[["source", "target"]].nunique().min(axis=1) >= 2
    whole = enough.groupby("model").all()
    return tuple(c for c in _CONTROLS if c != model and bool(whole.get(c, False)))


# ---------------------------------------------------------------- computed


def attempt(
    compute: Callable[[str | None], pd.DataFrame], tasks: Sequence[str], together: bool = False
) -> tuple[pd.DataFrame, list[str]]:
    """A table per task, stacked under the column ``task``, and why some tasks have none.

    With `together` also ``compute(None)``: all tasks in one analysis.
    """
    tables: list[pd.DataFrame] = []
    reasons: dict[str, list[str]] = {}
    wanted: list[str | None] = [*tasks, *([None] if together and len(tasks) > 1 else [])]
    for task in wanted:
        label = task or _TOGETHER
        try:
            found = compute(task).drop(columns="task", errors="ignore")
        except np.linalg.LinAlgError:
            reasons.setdefault(SINGULAR, []).append(label)
        except ValueError as error:
            reasons.setdefault(reason(error), []).append(label)
        else:
            found.insert(0, "task", label)
            tables.append(found)
    unable = [f"{', '.join(map(words.label_of, of))}: {why}" for why, of in reasons.items()]
    empty = pd.DataFrame(columns=["task"])
    return (pd.concat(tables, ignore_index=True) if tables else empty), unable


def show(
    draw: Callable[..., Any], table: pd.DataFrame, unable: Sequence[str] = (), **how: Any
) -> None:
    """Display ``draw(table)`` where there is something to draw, and what could not be computed."""
    from IPython.display import Markdown, display

    if len(table):
        display(draw(table, **how))
    for why in unable:
        display(Markdown(f"*Not computed. {why}.*"))


# ---------------------------------------------------------------- on the page


def bullets(sentences: Iterable[str]) -> Markdown:
    """Sentences as a list."""
    from IPython.display import Markdown

    return Markdown("\n".join(f"* {s}" for s in sentences))


def in_words(
    table: pd.DataFrame,
    value: str = "estimate",
    low: str = "low",
    high: str = "high",
    scale: float = 100,
    digits: int = 1,
) -> pd.Series:
    """Estimates with their intervals: ``46.5 (44.4 to 48.6)``; a dash where there is none."""
    rows = scale * table[[value, low, high]].to_numpy(float)
    shown = [words.estimate(mid, low, high, digits) for mid, low, high in rows.tolist()]
    return pd.Series(shown, index=table.index)


def listed(table: pd.DataFrame, digits: int = 2, **names: str) -> HTML:
    """A table for the page: columns renamed, languages by name, numbers rounded."""
    from IPython.display import HTML

    shown = words.as_text(table, digits)
    for column in shown:
        if not pd.api.types.is_numeric_dtype(shown[column]):
            shown[column] = shown[column].map(_on_one_line)
    heads = {str(c): words.label_of(c) for c in shown} | _HEADS | names
    return HTML(shown.rename(columns=heads).to_html(index=False, border=0, justify="left"))


def _on_one_line(value: object) -> object:
    """A text whose intervals do not break: in three lines one is hard to read."""
    if not isinstance(value, str):
        return value
    return _INTERVAL.sub(lambda found: found[0].replace(" ", "\u00a0"), value)


def text_table(frame: pd.DataFrame, texts: Sequence[str] = (), codes: Sequence[str] = ()) -> HTML:
    """A table of texts in many scripts, each cell in its own direction, ``<extra_id_3>`` as ⟨3⟩.

    The columns `texts` are in the language of the row, of which `codes` has one a row: a screen
    reader then reads them in it.
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
            shown = escape(_SENTINEL.sub(r"⟨\1⟩", value))
            cells.append(f'<td dir="auto"{own}>{shown}</td>')
        body.append(f"<tr>{''.join(cells)}</tr>")
    rows = "\n".join(body)
    return HTML(
        f'<table class="dataframe"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    )


def _tag(code: str) -> str:
    """The BCP 47 tag of a language code."""
    known = language(code)
    return (known.locale or known.code).replace("_", "-")


def caption(text: str, exp: Experiment | None = None, rows: pd.DataFrame | None = None) -> Markdown:
    """What a figure shows, and the run it came from, as text under it.

    `text` says what to see (Markdown). `exp` is named as the origin, with the models, seeds and
    n_test of the `rows` of the scores table that the figure shows.
    """
    from IPython.display import Markdown

    parts = [f"experiment `{exp.name}`"] if exp else []
    if rows is not None and len(rows):
        if "model" in rows:
            models = [f"`{m}`" for m in sorted(set(rows["model"]))]
            parts.append(f"model{'s' * (len(models) > 1)} {', '.join(models)}")
        if "seed" in rows:
            parts.append(_count(rows["seed"].nunique(), "seed"))
        if "n_test" in rows:
            low, high = int(rows["n_test"].min()), int(rows["n_test"].max())
            parts.append(f"n = {low if low == high else f'{low} to {high}'} test items a cell")
    origin = f" *From {'; '.join(parts)}.*" if parts else ""
    return Markdown(f"{text}{origin}".strip())


def _count(n: int, word: str) -> str:
    return f"{n:,} {word}{'' if n == 1 else 's'}"

"""What cells and headings mean: numbers and marks beside them, roles, outcomes, languages."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from xltlib.languages import is_summary, known, language

_MISSING = set("nan na n/a n.a. n.a none null - -- --- — – − / \\ x × . .. ... … * ? #n/a "
               "#div/0! #ref! #value! #name? #num! #null! k.a. n.v. s.o. n.d. s/d oom fail failed "
               "skip skipped todo tbd".split(" ")) | {"", "not available", "n. v."}  # fmt: skip
_WIDE = {i: i - 0xFEE0 for i in range(0xFF01, 0xFF5F)}  # of Chinese and Japanese keyboards
_LINK = re.compile(r"\[([^][]+)\]\(\w+:[^()]*\)")  # of Markdown
_MARKS = re.compile(
    r"<sup>[^<>]*</sup>|</?\w[^<>]*>|"
    r"(?<![*×x· ]10)\^(?:\{[^{}+\-−]*\}|[^\s.,+\-−])?(?![\d.,+\-−])|"  # raised, but no power of ten
    r"\\(?:textbf|textit|underline|emph|mathbf|mathrm|text|bf|it|dagger|ddagger|ast)"
    r"(?![A-Za-z])|\(\*+\)|[*†‡§¶‖°▲▼△▽$#{}↑↓✓ᵃᵇᶜᵈ¹²³⁰⁴-⁹\u200b-\u200f\u2060\U0001f1e6-\U0001f1ff]|"
    r"__|^_(?=\d)|(?<=\d)_$|\\[,;! ]|~"
)
_NUMBER = re.compile(
    r"(?P<n>[+\-−]?(?:\d{1,3}(?:[ '\u00a0\u202f]\d{3})+(?:[.,]\d+)?|\d+(?:[.,]\d+)*[.,]?|[.,]\d+)"
    r"(?:[eE][+-]?\d{1,3})?)\s*(?P<percent>\\?%)?\s*"
    r"(?P<rest>(?:_?\s*(?:±|\\pm|\+/-|\+-))\s*[\d.,]+|_\s*[+\-−]?\d*[.,]\d+|\([^()]*\d[^()]*\)|\[[^\[\]]*\d[^\[\]]*\])?\s*\\?%?"
    r"(?:\s*\(?n\.?s\.?\)?)?"  # not significant
)
_THOUSANDS = re.compile(r"(?<=\d)[ ,_'’\u00a0\u2009\u202f](?=\d{3}(?!\d))")
_EITHER = r"[1-9]\d{0,2}\.0{3}"  # one thousand, or one
_COUNT = re.compile(
    r"\(?(?:n\s*[=:]|[~≈])?\s*(?P<n>[+\-−]?\d+(?:[.,]\d+)?(?:[eE][+-]?\d{1,2})?)\s*(?P<unit>[km]?)\)?"
    r"(?:[\s-]*(?:shot|item|example|sentence|sample|instance|token)s?)?",
    re.IGNORECASE,
)


def unmarked(cell: Any, by: str = "") -> str:
    """A cell's text with `by` for marks such as ``**``, ``†`` and tags."""
    return _MARKS.sub(by, _LINK.sub(r"\1", str(cell).translate(_WIDE))).strip()


def _number_in(cell: Any) -> re.Match[str] | None:
    """The number that a cell holds beside marks, an error after ± or an interval; None if none."""
    text = unmarked(cell)
    return _NUMBER.fullmatch(text) if len(text) < 100 else None


def is_number(cell: Any) -> bool:
    """Whether a cell holds a number."""
    if isinstance(cell, (int, float, np.number)) and not isinstance(cell, bool):
        return True
    return bool(_number_in(cell))


def is_data(cell: Any) -> bool:
    """Whether a cell is a number, or a sign that one is missing."""
    return is_number(cell) or (cell != "" and str(cell).strip().lower() in _MISSING)


def numbers(column: pd.Series, name: str, notes: list[str]) -> pd.Series:
    """A column as floats, with what people write beside numbers left out and noted.

    Marks (``**79.5**``, ``†``), errors (``81.0±0.4``, ``81.0 (0.4)``) and per cent signs (which
    divide by 100) are understood, decimal commas too; signs of a missing value are NaN.

    Raises
    ------
    ValueError
        A cell that is no number, or commas and points in one column; it names the row.
    """
    out = pd.to_numeric(column, errors="coerce").astype(float)
    left = out.isna() & column.notna()
    cells = column[left].map(lambda c: "" if isinstance(c, float) else str(c).strip())
    plain = {c: _number_in(c) for c in cells.unique() if c.lower() not in _MISSING}
    bad = cells[cells.map(lambda c: c in plain and plain[c] is None)]
    if len(bad):
        raise _bad_number(column, name, bad)
    found = {c: m for c, m in plain.items() if m}
    if found:
        commas = _commas(column, name, out, found)
        values = {
            c: _value(m["n"], commas) / (100 if m["percent"] else 1) for c, m in found.items()
        }
        out = out.where(~left, cells.map(values).astype(float))
        notes += _of_cells(name, found, commas, values)
    if np.isinf(out).any():
        row = int(np.flatnonzero(np.isinf(out))[0])
        raise ValueError(f"{name} in row {row + 1} is infinite: correct it or leave it empty")
    return out


def counts(column: pd.Series, name: str) -> pd.Series:
    """A column of counts as floats: ``5,000``, ``5_000``, ``5k``, ``n=500`` and ``10-shot`` too.

    Raises
    ------
    ValueError
        Of `numbers`; a cell such as ``5.000``, that may be five or five thousand.
    """
    values = {c: _count(c) for c in column.dropna().unique() if str(c).lower() not in _MISSING}
    if bad := [c for c, value in values.items() if value is None]:
        raise _bad_number(column, name, column[column.isin(bad)])
    return numbers(column.map(values), name, [])


def _count(cell: Any) -> float | None:
    if is_number(cell) and not isinstance(cell, str):
        return float(cell)
    text = _THOUSANDS.sub("", unmarked(cell))
    found = _COUNT.fullmatch(text)
    if not found or "^" in cell or re.fullmatch(_EITHER, text):
        return None
    unit = {"k": 1e3, "m": 1e6}.get(found["unit"].lower(), 1)
    return round(float(found["n"].replace(",", ".").replace("−", "-")) * unit, 6)


def _bad_number(column: pd.Series, name: str, bad: pd.Series) -> ValueError:
    row = int(np.flatnonzero(column.index == bad.index[0])[0])
    cell, cure = str(bad.iloc[0]), "write one number a cell, leave unknown empty"
    if re.fullmatch(_EITHER, cell):
        cure = f"write {cell.replace('.', '')} or {cell[:-4]}"
    elif re.fullmatch(r"[\d.,\s%]+[/|;][\d.,\s%]+", cell):
        cure = "two numbers in a cell: give each a column of its own"
    elif re.match(r"\d{4}-\d\d-\d\d", cell):
        cure = "a date: a spreadsheet took a score for one; type it again as text or number"
    return ValueError(
        f"{name} in row {row + 1} is {cell!r}, not a number ({len(bad)} such rows): {cure}"
    )


def _commas(column: pd.Series, name: str, out: pd.Series, found: dict[str, re.Match[str]]) -> bool:
    """Whether a comma is the decimal sign in this column; a mixture is an error."""
    comma = [c for c, m in found.items() if "," in m["n"] and "." not in m["n"]]
    both = [m["n"] for m in found.values() if "," in m["n"] and "." in m["n"]]
    point = any("." in m["n"] and "," not in m["n"] for m in found.values())
    plain = out.dropna()
    parted = [re.fullmatch(r"[1-9]\d{0,2}(,\d{3})+", found[c]["n"]) for c in comma]
    if comma and all(parted) and name not in ("score", "stderr", "chance"):  # 5,000
        if any(c.count(",") > 1 for c in comma):
            return False
        raise ValueError(
            f"{name} {comma[0]!r} may have thousands or decimals: write it without ','"
        )
    if comma and (point or (plain != plain.round()).any()):
        row = int(np.flatnonzero(column.astype(str).str.strip() == comma[0])[0])
        raise ValueError(
            f"{name} in row {row + 1} is {comma[0]!r}, not a number beside others with a decimal "
            "point: write all with a decimal point"
        )
    return bool(comma) or any(n.rindex(",") > n.rindex(".") for n in both)


def _value(text: str, commas: bool) -> float:
    """A number's text as a float; the sign that is not the decimal one parts thousands."""
    text = re.sub(r"[ '\u00a0\u202f]", "", text).replace("−", "-")
    text = text.replace(".", "").replace(",", ".") if commas else text.replace(",", "")
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number: write it with one decimal point") from None


def _of_cells(
    name: str, found: dict[str, re.Match[str]], commas: bool, values: dict[str, float]
) -> list[str]:
    """What was understood of the cells, one sentence a kind with an example."""
    kinds: dict[str, str] = {}
    for cell, match in found.items():
        if match["rest"]:
            kinds.setdefault("what stands after the number is left out", cell)
        if match["percent"]:
            kinds.setdefault("per cent", cell)
        if unmarked(cell) != cell:
            kinds.setdefault("marks are left out", cell)
    if commas:
        kinds["a decimal comma"] = next(c for c, m in found.items() if "," in m["n"])
    return [f"{name} {cell!r} read as {values[cell]:g}: {kind}" for kind, cell in kinds.items()]


_ROLES = {  # words of headings, as published tables have them
    "source": "source src train training trained finetune finetuned finetuning tune tuned tuning "
    "ft pivot from donor quelle quellsprache fuente origen 训练 源语言 训练 обучение",
    "target": "target tgt trg test tested testing eval evaluation evaluated to inference recipient "
    "ziel zielsprache cible destino 目标语言 测试 тест",
    "model": "model models encoder checkpoint plm lm backbone system arm",
    "task": "task tasks dataset benchmark",
    "seed": "seed run fold trial repeat replicate rep",
    "metric": "metric measure",
    "n_target": "shots shot",
}
_FILL = set(
    "lang lg langue sprache idioma code iso locale name path or on in fine id random the config "
    "args cfg params hparams".split()
)
_EXACT = {  # names whose words say something else, or nothing
    **dict.fromkeys(("transfer_lang", "xfer_lang", "lang_1", "lang1", "l1"), "source"),
    **dict.fromkeys(("task_lang", "lang_pred", "pred_lang", "lang_2", "lang2", "l2"), "target"),
    **dict.fromkeys(("n_shots", "k_shot", "k_shots", "n_shot", "num_shots"), "n_target"),
    **dict.fromkeys(
        "num_eval_examples n_eval test_size predict_samples eval_samples test_samples n_samples "
        "n_test_examples num_test_examples support".split(), "n_test"),
    **dict.fromkeys(("p_1", "r_1"), "score"),  # P@1
    **dict.fromkeys("std_err score_stderr acc_stderr standard_error".split(), "stderr"),
}  # fmt: skip
_OURS = ("source", "target", "score", "model", "task", "seed", "metric", "n_target", "n_test",
         "stderr", "chance", "source_set", "target_set", "half", "test_set")  # fmt: skip
_HIGHER = """score accuracy acc f1 f bleu sacrebleu spbleu chrf comet las uas em exact match mcc
    spearman pearson ndcg mrr map rouge rougel auc auroc kappa hits value result performance
    scores exactitude exactitud genauigkeit 准确率 正解率 точность""".split()
_LOWER = """loss perplexity ppl error err wer cer ter nll bpc bpb bits entropy mse mae rmse
    eer""".split()
_BESIDE = set(
    """eval test predict prediction pred dev val valid validation macro micro weighted avg average
    balanced metric mean cross zero shot overall strict main final norm none percent pct rate in
    per byte character word token cased top 1 l span seqeval results metrics summary""".split()
)
_OUTCOME = {*_HIGHER, *_LOWER} | set(
    """runtime second seconds time steps step epoch epochs std sd stdev stderr se var variance ci
    low high lower upper min max rank ranking gap delta diff difference drop decrease degradation
    gain ratio improvement relative normalized normalised retention best precision recall pvalue p
    zscore confidence calibration ece logit logits prob probability prediction predictions predicted
    output outputs agreement count""".split()
)
_PROPERTY = set(
    """distance dist similarity sim overlap cosine shared lang2vec uriel syntactic syntax phonetic
    phonological phonology genetic genealogy genealogical geographic geographical geography
    featural inventory family typology typological morphology word script order subword vocabulary
    vocab ttr entropy tokens sentences size sizes fertility asjp wals pair lexical jaccard wu
    kinship embedding alignment isomorphism speakers resource resources coverage""".split()
)
_FROM_ONE = re.compile(r"\s*1(?:00)?\s*[-−–]\s*(?!shot|word|token|char|byte|span)(.+)", re.I)
_TASKS = {"ner", "pos", "pan", "sib"}  # codes of languages too
_TASK_LIKE = re.compile(
    r"(?i)(x|ud|af|wiki|masakha|multi)?[ _-]?(ner|pos|nli|qa|paws(-?x)?|quad|copa|tydiqa?|mlqa|"
    r"ann|sib(-?200)?|massive|pan-?x|senti(ment)?|topics?|intents?|slots?|dep|parsing|news)"
)
_PARTS = set("base large small xl r model models lang mono monolingual only".split())
_RUN = re.compile(r"(seed|run|fold|trial)?[\W_]?\d+", re.I)
_MODEL_LIKE = re.compile(r"bert|xlm|t5|gpt|llama|e5|minilm|bloom|gemma|mistral|qwen|canine", re.I)


def words(head: Any) -> list[str]:
    """A heading's words in lower case: ``Train-Language``, ``trainLanguage`` -> train, lang."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", unmarked(head, " "))
    text = re.sub(r"(?<=\w\w)@\d+", "", text)  # hits@1
    text = re.sub(r"\blanguages?\b|\blangs\b", "lang", re.sub(r"[\W_]+", " ", text).lower())
    return text.split()


def role(head: Any) -> str:
    """Which column of the scores table a heading means; empty if none (``Source Language``)."""
    text = str(head)
    return _role(text) if len(text) < 80 else ""


@cache
def _role(text: str) -> str:
    found = words(text)
    name = "_".join(found)
    if re.search(r"\D\.\d$", text):
        return ""  # how pandas names a column that is there twice
    if name in _OURS:
        return name
    if name in _EXACT:
        return _EXACT[name]
    if is_score(text) or lower_is_better(text):
        return "score"
    rest = set(found) - _FILL
    fit = (meant for meant, known in _ROLES.items() if rest and rest <= set(known.split()))
    return next(fit, "")


def is_filler(head: Any) -> bool:
    """Whether a heading says no more than ``language``, ``code`` or ``name``."""
    return set(words(head)) <= _FILL


def is_score(head: Any) -> bool:
    """Whether a heading names a score that is better when higher: ``predict_accuracy``."""
    found = {*words(head)}
    named = bool(found & {*_HIGHER}) and found <= {*_HIGHER} | _BESIDE
    return named and not _FROM_ONE.match(str(head))


def lower_is_better(head: Any) -> bool:
    """Whether a heading names a loss or an error: ``eval_loss``, ``WER``, ``1 - accuracy``."""
    found = {*words(head)}
    named = bool(found & {*_LOWER}) and found <= {*_LOWER} | _BESIDE
    return named or bool((one := _FROM_ONE.match(str(head))) and is_score(one[1]))


def preference(head: Any) -> tuple[bool, int, bool]:
    """Sorts columns of scores: better when higher, the usual first, of the test before others."""
    found = words(head)
    place = [_HIGHER.index(w) for w in found if w in _HIGHER]
    return not place, min(place, default=0), bool({"dev", "val", "valid", "eval"} & {*found})


def is_outcome(head: Any) -> bool:
    """Whether a heading names what a run gives, as a loss, a rank, a gap or a runtime."""
    return bool({*words(head)} & _OUTCOME) and not is_property(head)


def is_property(head: Any) -> bool:
    """Whether a heading names what is known of a pair before any run: a distance, a size."""
    found = {*words(head)}
    return bool(found & _PROPERTY) and not found & (
        _OUTCOME - {"relative", "entropy", "ratio", "count"}
    )


# -- labels ---------------------------------------------------------------------------------------


@cache
def is_language(label: Any) -> bool:
    """Whether a label is a language, or a treebank of one."""
    text = plain_label(label)
    return len(text) <= 60 and (known(text) or bool(re.match(r"UD_\w+-\w+$", text)))


def plain_label(label: Any) -> str:
    """A label without marks, and without a remark in brackets that says the same or a number."""
    if str(label).startswith("UD_") or known(text := unmarked(label)):
        return str(label) if str(label).startswith("UD_") else text
    text = (text or str(label)).strip("\"'`‘’“”<>_ ")
    if remark := re.fullmatch(r"(.+?)\s*[(\[](.*)[)\]]|(.+?)(?:\s*[:|/]| +[-–—]?) *(.+)", text):
        outer, inner = (part.strip() for part in remark.groups() if part is not None)
        same = known(outer) and known(inner) and language(outer) == language(inner)
        if same or (remark[1] and re.fullmatch(r"(n ?= ?)?[\d.,]+ ?[kmb%]?", inner, re.I)):
            return outer
    return text


def undecorated(labels: Iterable[Any]) -> dict[Any, str]:
    """Labels that are languages but for what all have at their ends: ``train-en``, ``XLM-R (en)``.

    Empty where fewer than three are left, or one of them is no language. Summaries stay out.
    """
    own = {x: str(x).strip() for x in labels if not is_summary(str(x))}
    if len(own) < 3 or any(map(is_language, own)):
        return {}
    head = re.sub(r"[^\W_]+$", "", os.path.commonprefix(list(own.values())))
    tail = re.sub(r"[^\W_]+$", "", os.path.commonprefix([x[::-1] for x in own.values()]))
    beside = re.findall(r"[^\W_]+", f"{head} {tail[::-1]}")  # English-German is no German
    if not beside or not all(map(_says_nothing, beside)):  # w/o en, romanized Hindi
        return {}
    cut = {x: text[len(head) : len(text) - len(tail)] for x, text in own.items()}
    return cut if all(map(is_language, cut.values())) else {}


def _says_nothing(word: str) -> bool:
    """Whether a word beside a language names a model, a task, data or a part of them."""
    plain = word.lower() in _TASKS | _BESIDE | _FILL | _PARTS or word.isdigit()
    return bool(plain or role(word) or _TASK_LIKE.fullmatch(word) or _MODEL_LIKE.search(word))


def languages_in(labels: Iterable[Any]) -> float:
    """The share of different labels that are languages."""
    found = [is_language(str(x)) for x in dict.fromkeys(labels)]
    return sum(found) / len(found) if found else 0.0


def decorated(heads: Sequence[str]) -> list[tuple[str, str]]:
    """Headings such as ``test/accuracy_de`` as (the rest, the language); empty if there are none.

    At least three languages share each rest.
    """
    out, skip = [], {*_BESIDE, *_FILL, *_OUTCOME, *_TASKS, "samples", "run"}
    for head in heads:
        parts = [p for p in re.split(r"([a-z]{3}_[A-Z][a-z]{3}\b)|[\W_]+", head) if p]
        found = [p for p in parts if p.lower() not in skip and not role(p) and not is_summary(p)
                 and is_language(p)]  # fmt: skip
        rest = " ".join(p for p in parts if p not in found)
        out.append((rest, found[0]) if len(found) == 1 and rest else ("", head))
    count = Counter(rest for rest, _ in out if rest)
    out = [(r, x) if count[r] > 2 else ("", h) for (r, x), h in zip(out, heads, strict=True)]
    return out if any(rest for rest, _ in out) else []


def kind_of(labels: Iterable[Any], taken: Iterable[str]) -> str:
    """What labels without a heading are: metrics, numbered runs, models, else tasks."""
    found = [str(x) for x in dict.fromkeys(labels) if str(x)]
    kind = "task"
    named = [is_score(x) or lower_is_better(x) or is_outcome(x) or is_summary(x) for x in found]
    if 2 * sum(named) > len(found):
        kind = "metric"
    elif found and all(map(_RUN.fullmatch, found)):
        kind = "seed"
    elif any(_MODEL_LIKE.search(x) for x in found):
        kind = "model"
    kinds, taken = (kind, "task", "model", *(f"label {i}" for i in range(99))), {*taken}
    return next(k for k in kinds if k not in taken)


def is_condition(head: str) -> bool:
    """Whether a heading names a model, a task or a numbered run, and so a column its scores."""
    run, task = _RUN.fullmatch(head), _TASK_LIKE.fullmatch(head)
    model = _MODEL_LIKE.search(head) and not (is_outcome(head) or is_property(head))
    return bool((run and run[1]) or task or model)  # 0, 10, 100 may be shots


def without_outcomes(frame: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Rows of losses, deviations or runtimes beside those of scores are left out, and noted."""
    if "metric" in frame:
        outcome = frame["metric"].map(lambda m: not is_score(m) and is_outcome(m))
        if outcome.any() and not outcome.all():
            notes.append(f"columns left out: {some(frame.loc[outcome, 'metric'].unique())}")
            return frame[~outcome].reset_index(drop=True)
    return frame


def some(values: Iterable[Any], most: int = 4) -> str:
    """The first few of some values, and how many more there are."""
    shown = [str(v) for v in values]
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more

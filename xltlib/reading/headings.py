"""What the headings and labels of a table mean: roles, scores and outcomes, languages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import pandas as pd

from xltlib.languages import is_summary, known, language
from xltlib.reading.cells import unmarked

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
    "lang lg langue sprache idioma code iso locale name path or on in fine id random the".split()
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
    scores""".split()
_LOWER = """loss perplexity ppl error err wer cer ter nll bpc bpb bits entropy mse mae rmse
    eer""".split()
_BESIDE = set(
    """eval test predict prediction pred dev val valid validation macro micro weighted avg average
    balanced metric mean cross zero shot overall strict main final norm none percent pct rate in
    per byte character word token cased top 1 l span seqeval results metrics""".split()
)
_OUTCOME = {*_HIGHER, *_LOWER} | set(
    """runtime second seconds time steps step epoch epochs std sd stdev stderr se var variance ci
    low high lower upper min max rank ranking gap delta diff difference drop decrease degradation
    gain ratio improvement relative normalized normalised retention best precision recall pvalue p
    zscore confidence calibration ece logit logits prob probability prediction predictions predicted
    output outputs agreement""".split()
)
_PROPERTY = set(
    """distance dist similarity sim overlap cosine shared lang2vec uriel syntactic syntax phonetic
    phonological phonology genetic genealogy genealogical geographic geographical geography
    featural inventory family typology typological morphology word script order subword vocabulary
    vocab ttr entropy tokens sentences size sizes fertility asjp wals pair lexical jaccard wu
    kinship embedding alignment isomorphism speakers resource resources coverage""".split()
)
_FROM_ONE = re.compile(r"\s*1(?:00)?\s*[-−–]\s*(?!shot|word|token|char|byte|span)(.+)", re.I)
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
    return bool(found & _PROPERTY) and not found & (_OUTCOME - {"relative", "entropy", "ratio"})


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


def languages_in(labels: Iterable[Any]) -> float:
    """The share of different labels that are languages."""
    found = [is_language(str(x)) for x in dict.fromkeys(labels)]
    return sum(found) / len(found) if found else 0.0


def decorated(heads: Sequence[str]) -> list[tuple[str, str]]:
    """Headings such as ``test/accuracy_de`` as (the rest, the language); empty if there are none.

    At least three languages share each rest.
    """
    out, skip = [], {*_BESIDE, *_FILL, *_OUTCOME, "samples", "run"}
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
    elif found and all(re.fullmatch(r"(seed|run)?\W?\d+", x, re.I) for x in found):
        kind = "seed"
    elif any(_MODEL_LIKE.search(x) for x in found):
        kind = "model"
    kinds, taken = (kind, "task", "model", *(f"label {i}" for i in range(99))), {*taken}
    return next(k for k in kinds if k not in taken)


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

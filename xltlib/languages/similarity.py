"""Similarity between languages: measures (`MEASURES`) and one `pairs` table.

Every measure is symmetric and grows with similarity. Typology, family and place come from
lang2vec's features (`xltlib.languages.uriel`), lexical overlap from texts the caller gives, data
size from `text_sizes` or the caller.

Two binary feature vectors a, b are compared by angular similarity, 1 - 2 arccos(cos(a, b)) / pi,
which is 1 for equal and 0 for disjoint vectors and, unlike the cosine, a metric's complement
(Cer et al. 2018, arXiv 1803.11175). lang2vec imputes the gaps; `coverage_*` says how much of a
value was observed in both languages, and ``shared_only=True`` uses nothing else.

* ``word_order``: order of subject, verb, object, modifiers, particles and clauses.
* ``morphology``: which categories are marked, and by affix, clitic, agreement or free word.
* ``phonology``: classes of sounds and syllables: voicing, tone, codas.
* ``inventory``: the single sounds that the languages have.
* ``genealogy``: share of common ancestors, 2 |A and B| / (|A| + |B|) over Glottolog nodes. On a
  tree this is Wu & Palmer's similarity (1994, https://aclanthology.org/P94-1019), the depth of the
  last common ancestor against both depths: 0 across families. A language without an entry counts as
  kin to none, with coverage 0: in lang2vec an isolate looks like a gap.
* ``geography``: 1 - great-circle distance / half the equator, 1 on the spot, 0 at the antipode.
  Places are recovered from lang2vec's `geo` distances (Glottolog's coordinates, to about 20 km).
* ``lexical``: the share of letter-trigram mass that two texts have in common. Words are case-folded
  runs of letters with their edges marked (Cavnar & Trenkle 1994); trigrams count by token, so
  frequent words weigh more. The overlap of two profiles p, q is sum(min(p, q)), 1 less the total
  variation distance. Shorter grams would mostly repeat the script. NaN without text. Small texts
  lower the value: give about equal amounts.
* ``lexical_translit``: the same after transliteration to ASCII (package `anyascii`): shared words
  across scripts. Consonant scripts keep no short vowels and Han becomes Mandarin pinyin, so values
  across script types are lower bounds.
* ``script``: 1 where the two scripts have letters in common (Han counts for Japanese), else 0.
* ``spacing``: 1 where both languages part their words by spaces, or neither does; else 0. Taggers
  trained on spaced text fail on Chinese, Japanese and Thai, and serve each other there.
* ``data_size``: log10 of the smaller of the two languages' text sizes. What a model can have learnt
  about both is bounded by the poorer one. Sum and difference of the logs are left out on purpose:
  source and target effects swallow the first entirely, and the second calls two unseen languages
  similar. NaN if unknown. `of_model` can make "unknown to the model" a level instead of a gap: then
  ``known_source`` and ``known_target`` say 0 or 1, and no pair lacks a size.
"""

from __future__ import annotations

import csv
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
from anyascii import anyascii

from xltlib.errors import unknown
from xltlib.languages import Language, language, languages, shared_script, uriel

if TYPE_CHECKING:
    import pandas as pd

_T = TypeVar("_T")
_Array = npt.NDArray[np.float64]
_Group = Literal["syntax", "morphology", "phonology", "kinship", "lexical", "other"]

# Names in lang2vec's `S_` set that speak of position. What is left says how a category is
# expressed: by affix, clitic, mark, agreement, reduplication or free word. The alternatives of
# one WALS chapter (plural prefix | suffix | word, ch. 33) so stay on one side.
_ORDER = re.compile(
    r"S_[SVOX]{3}$|_(BEFORE|AFTER|AROUND)_|_(INITIAL|FINAL|SECOND)$|S_ADJECTIVE_WITHOUT_NOUN$"
)
# Scripts that show no spaces between words (Unicode's UAX #29, section 4, and UAX #14, classes SA
# and ID); Tibetan marks syllables instead.
_UNSPACED = frozenset(
    "Hani Hans Hant Jpan Hira Kana Hrkt Bopo Thai Laoo Khmr Mymr Lana Tale Talu Tavt Tibt".split()
)
_OF_TEXTS = ("lexical", "lexical_translit")
LEVELS = ("known_source", "known_target")  # columns about one language, no similarity
# Models that have read CC-100, and those of them whose list of languages makes levels: encoders
# that began as XLM-R (Wang et al. 2024, arXiv 2402.05672, of E5).
_CC100 = re.compile(r"(.*/)?(xlm-?r|(multilingual-)?(e5|minilm))")
_LEVELLED = re.compile(r"(.*/)?(multilingual-)?(e5|minilm)")


@dataclass(frozen=True)
class _Inputs:
    """What a measure may look at: m source and n target languages, and the caller's data."""

    sources: Sequence[Language]
    targets: Sequence[Language]
    texts: Mapping[Language, Sequence[str]] = field(default_factory=dict)
    sizes: Mapping[Language, float] = field(default_factory=dict)
    shared_only: bool = False

    def rows(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Rows of sources and targets in lang2vec's table, -1 where it has none."""
        rows = uriel.load().rows
        return rows([s.code for s in self.sources]), rows([t.code for t in self.targets])

    def each(self, number: Callable[[Language], float]) -> tuple[_Array, _Array]:
        """A number of every source, (m, 1), and of every target, (1, n)."""
        s, t = (np.array([number(x) for x in side], float) for side in (self.sources, self.targets))
        return s[:, None], t[None, :]


@dataclass(frozen=True)
class _Measure:
    """One column of the pairs table.

    `compute` maps `_Inputs` to an (m, n) array, NaN where a language has no data.
    Every measure is symmetric and grows with similarity.
    """

    name: str
    group: _Group
    range: str
    meaning: str
    source: str
    compute: Callable[[_Inputs], _Array]
    coverage: Callable[[_Inputs], _Array] | None = None


@cache
def feature_mask(measure: str) -> npt.NDArray[np.bool_]:
    """Which of lang2vec's features (289,) are behind a typological measure.

    Word order and morphology divide the syntactic ones (`S_`) by what they speak of. ValueError
    names the measures where it is another.
    """
    names = [str(f) for f in uriel.load().features]
    belongs: dict[str, Callable[[str], bool]] = {
        "word_order": lambda f: f.startswith("S_") and bool(_ORDER.search(f)),
        "morphology": lambda f: f.startswith("S_") and not _ORDER.search(f),
        "phonology": lambda f: f.startswith("P_"),
        "inventory": lambda f: f.startswith("INV_"),
    }
    if measure not in belongs:
        raise unknown("typological measure", measure, belongs)
    return np.array([belongs[measure](f) for f in names])


# --- the numbers -------------------------------------------------------------------------------


def _angular(a: _Array, b: _Array) -> _Array:
    """1 - 2 arccos(cos) / pi of every row of a (m, k) with every row of b (n, k), non-negative.

    Over the features that are not NaN in both rows: 1 for parallel, 0 for disjoint vectors, NaN
    where a vector is zero or nothing is left.
    """
    seen_a, seen_b = (~np.isnan(a)).astype(float), (~np.isnan(b)).astype(float)
    a, b = np.nan_to_num(a), np.nan_to_num(b)
    norms = np.sqrt(((a * a) @ seen_b.T) * (seen_a @ (b * b).T))
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = np.where(norms > 0, a @ b.T / norms, np.nan)
    return 1 - 2 / np.pi * np.arccos(np.clip(cosine, 0, 1))


def _typological(inputs: _Inputs, measure: str) -> _Array:
    table, columns = uriel.load(), feature_mask(measure)
    rows_s, rows_t = inputs.rows()
    values = table.average if inputs.shared_only else table.knn
    known = values[:, columns].astype(np.float64)
    return _blank(_angular(known[rows_s], known[rows_t]), rows_s, rows_t)


def _observed_share(inputs: _Inputs, measure: str) -> _Array:
    """Share of the measure's features that some source observed in both languages."""
    rows_s, rows_t = inputs.rows()
    seen = uriel.load().observed[:, feature_mask(measure)].astype(np.float64)
    share = seen[rows_s] @ seen[rows_t].T / seen.shape[1]
    return np.nan_to_num(_blank(share, rows_s, rows_t))


def _blank(values: _Array, rows_s: npt.NDArray[np.int64], rows_t: npt.NDArray[np.int64]) -> _Array:
    """NaN where lang2vec does not have the language."""
    return np.where((rows_s[:, None] < 0) | (rows_t[None, :] < 0), np.nan, values)


def _genealogy(inputs: _Inputs) -> _Array:
    """Share of common ancestors; a language is wholly kin to itself."""
    a, b = _ancestry(inputs)
    depth = a.sum(axis=1)[:, None] + b.sum(axis=1)[None, :]
    kinship = 2 * (a @ b.T) / np.maximum(depth, 1)
    rows_s, rows_t = inputs.rows()
    same = (rows_s[:, None] == rows_t[None, :]) & (rows_s[:, None] >= 0)
    return np.where(same, 1.0, kinship)


def _family_known(inputs: _Inputs) -> _Array:
    a, b = _ancestry(inputs)
    return np.outer(a.any(axis=1), b.any(axis=1)).astype(np.float64)


def _ancestry(inputs: _Inputs) -> tuple[_Array, _Array]:
    """0/1 ancestor vectors of sources and targets over the nodes that occur in either."""
    table = uriel.load()
    rows_s, rows_t = inputs.rows()
    nothing = np.empty(0, dtype=np.int32)
    above = [table.ancestors(r) if r >= 0 else nothing for r in (*rows_s, *rows_t)]
    used = np.unique(np.concatenate([nothing, *above]))
    vectors = np.zeros((len(above), len(used)))
    for vector, nodes in zip(vectors, above, strict=True):
        vector[np.searchsorted(used, nodes)] = 1
    return vectors[: len(rows_s)], vectors[len(rows_s) :]


def _geography(inputs: _Inputs) -> _Array:
    """1 - great-circle distance / half the equator."""
    rows_s, rows_t = inputs.rows()
    place = uriel.load().position
    angle = np.arccos(np.clip(place[rows_s] @ place[rows_t].T, -1, 1))
    return _blank(1 - angle / np.pi, rows_s, rows_t)


def _script(inputs: _Inputs) -> _Array:
    """1 where the two scripts have letters in common."""
    known = cache(shared_script)
    common = [[known(s.script, t.script) for t in inputs.targets] for s in inputs.sources]
    return np.array(common, dtype=np.float64).reshape(len(inputs.sources), len(inputs.targets))


def _spacing(inputs: _Inputs) -> _Array:
    """1 where both part words by spaces, or neither does."""
    s, t = inputs.each(lambda x: math.nan if x.script is None else float(x.script in _UNSPACED))
    return 1 - np.abs(s - t)


def _lexical(inputs: _Inputs, transliterate: bool = False) -> _Array:
    """Overlap of the trigrams of texts, counted once a language."""
    both = list(dict.fromkeys((*inputs.sources, *inputs.targets)))
    grams = [_trigrams(_of(inputs.texts, x) or (), transliterate) for x in both]
    at = {x: i for i, x in enumerate(both)}
    return _overlap(grams, [at[s] for s in inputs.sources], [at[t] for t in inputs.targets])


def _overlap(
    profiles: Sequence[Mapping[str, int]], rows: Sequence[int], columns: Sequence[int]
) -> _Array:
    """sum(min(p, q)) of the relative frequencies of profiles `rows` and `columns`, (m, n).

    1 for equal profiles, 0 for disjoint ones, NaN where a profile is empty. One source at a time
    on its own n-grams only: profiles in different scripts share nothing.
    """
    from scipy import sparse

    ids = {gram: i for i, gram in enumerate(dict.fromkeys(g for p in profiles for g in p))}
    ends = np.cumsum([0, *map(len, profiles)])
    gram = np.array([ids[g] for p in profiles for g in p], dtype=np.int64)
    counts = [np.array(list(p.values()), dtype=np.float64) for p in profiles]
    share = np.concatenate([c / max(c.sum(), 1) for c in counts])
    table = sparse.csr_array((share, gram, ends), shape=(len(profiles), max(len(ids), 1)))
    targets = table[list(columns)].tocsc()
    empty = np.diff(ends) == 0
    result = np.full((len(rows), len(columns)), np.nan)
    for i, row in enumerate(rows):
        own = slice(ends[row], ends[row + 1])
        common = np.minimum(targets[:, gram[own]].toarray(), share[own]).sum(axis=1)
        result[i] = np.where(empty[list(columns)] | empty[row], np.nan, common)
    return result


def _trigrams(lines: Iterable[str], transliterate: bool) -> Counter[str]:
    """Letter trigrams of the words in some lines, word edges marked by a space, by token."""
    text = unicodedata.normalize("NFC", "\n".join(lines))
    if transliterate:
        text = anyascii(text)
    text = text.casefold()
    letters = {c: _letter(c) for c in set(text)}
    words = Counter("".join(letters[c] for c in text).split())
    grams: Counter[str] = Counter()
    for word, n in words.items():
        edged = f" {word} "
        for i in range(len(edged) - 2):
            grams[edged[i : i + 3]] += n
    return grams


def _letter(c: str) -> str:
    """Letters and their marks stay, joiners vanish, all else parts words."""
    kind = unicodedata.category(c)
    return c if kind[0] in "LM" else "" if kind == "Cf" else " "


def _data_size(inputs: _Inputs) -> _Array:
    """log10 of the smaller text size; no text at all counts as one token."""

    def log10(lang: Language) -> float:
        size = _of(inputs.sizes, lang)
        return math.nan if size is None else math.log10(max(size, 1.0))

    return np.minimum(*inputs.each(log10))


def _of(given: Mapping[Language, _T], lang: Language) -> _T | None:
    """The entry of a language, in another script if the caller has it in no other way."""
    if lang in given:
        return given[lang]
    return next((v for k, v in given.items() if k.code == lang.code), None)


def mc4_sizes() -> dict[Language, float]:
    """Tokens per language of mC4, mT5's pre-training text (Xue et al. 2021, arXiv 2010.11934)."""
    return _sizes("mc4_language_sizes.csv", "tokens_b", 1e9)


# CC-100, XLM-R's pre-training text (Conneau et al. 2020, table 6)
_TOKENS, _BYTES = (("cc100_language_sizes.csv", *x) for x in (("tokens_m", 1e6), ("gib", 2**30)))


@cache
def _sizes(name: str, column: str, unit: float) -> dict[Language, float]:
    """A table of the assets; a language's lists in one script (Zawgyi and Unicode) are summed."""
    sizes: dict[Language, float] = {}
    with (Path(__file__).parents[1] / "assets" / name).open() as f:
        for row in csv.DictReader(line for line in f if not line.startswith("#")):
            lang = language(row["code"])
            sizes[lang] = sizes.get(lang, 0.0) + float(row[column]) * unit
    return sizes


def text_sizes(model: str | None = None) -> dict[Language, float]:
    """Tokens per language of the text a model has read: mC4, but CC-100 for XLM-R and its heirs.

    mC4's language detection has no Croatian, Tagalog or Uyghur: such text is in mC4 under other
    names. Where mC4 has no entry and CC-100 has one, that counts times the median ratio of the two.
    """
    mc4, cc100 = mc4_sizes(), _sizes(*_TOKENS)
    if model is not None and _CC100.match(model.casefold()):
        return dict(cc100)
    ratio = float(np.median([mc4[x] / size for x, size in cc100.items() if x in mc4]))
    codes = {x.code for x in mc4}
    return mc4 | {x: size * ratio for x, size in cc100.items() if x.code not in codes}


def _typology(name: str, group: _Group, meaning: str, knn: str) -> _Measure:
    return _Measure(
        name, group, "0..1", meaning,
        f"angular similarity on lang2vec {knn} (Littell et al. 2017)",
        partial(_typological, measure=name), partial(_observed_share, measure=name),
    )  # fmt: skip


MEASURES: dict[str, _Measure] = {
    m.name: m
    for m in (
        _typology("word_order", "syntax", "order of words and clauses",
                  "syntax_knn, features of position"),
        _typology("morphology", "morphology", "affixes, marking, agreement",
                  "syntax_knn, features of expression"),
        _typology("phonology", "phonology", "classes of sounds", "phonology_knn"),
        _typology("inventory", "phonology", "single sounds", "inventory_knn"),
        _Measure("genealogy", "kinship", "0..1", "share of common ancestors (Wu & Palmer 1994)",
                "lang2vec fam (Glottolog)", _genealogy, _family_known),
        _Measure("geography", "kinship", "0..1", "1 - great-circle distance / half the equator",
                "lang2vec geo (Glottolog)", _geography),
        _Measure("lexical", "lexical", "0..1", "shared letter-trigram mass",
                "the caller's texts", _lexical),
        _Measure("lexical_translit", "lexical", "0..1",
                "shared letter-trigram mass after transliteration",
                "caller's texts, anyascii", partial(_lexical, transliterate=True)),
        _Measure("script", "other", "0 or 1", "letters in common",
                "CLDR likely subtags", _script),
        _Measure("spacing", "other", "0 or 1", "words parted by spaces, in both or in neither",
                "script, Unicode UAX #29 and #14", _spacing),
        _Measure("data_size", "other", "log10 tokens", "text of the poorer language",
                "mC4 (arXiv 2010.11934), its gaps from CC-100; or the caller", _data_size),
    )
}  # fmt: skip


# --- the table ---------------------------------------------------------------------------------


def pairs(
    codes: Iterable[str],
    *,
    targets: Iterable[str] | None = None,
    measures: Iterable[str] | None = None,
    texts: Mapping[str, Sequence[str]] | None = None,
    sizes: Mapping[str, float] | Mapping[Language, float] | None = None,
    shared_only: bool = False,
) -> pd.DataFrame:
    """The pairs table: similarity of every source to every other target.

    Parameters
    ----------
    codes : iterable of str
        Source languages, in any code form or by English name.
    targets : iterable of str, optional
        Target languages; the sources themselves unless given.
    measures : iterable of str, optional
        Names from `MEASURES`; all of them unless given, the lexical ones only with `texts`.
    texts : mapping, optional
        Language to lines of text (or names); lexical measures are NaN for languages not in it.
    sizes : mapping, optional
        Language to tokens of pre-training text; those of `text_sizes` unless given.
    shared_only : bool
        Typology from features observed in both languages only, nothing imputed.

    Returns
    -------
    DataFrame
        `source`, `target` (`Language.key`: ISO 639-3, with the script where it is unusual,
        `cmn_Hant`), one column per measure, then `coverage_<measure>`. Never a source and itself.

    Raises
    ------
    ValueError
        For an unknown language or measure, a lexical measure without texts, a negative size.
    """
    sources = languages(codes)
    inputs = _Inputs(
        sources,
        sources if targets is None else languages(targets),
        {language(k): v for k, v in (texts or {}).items()},
        text_sizes() if sizes is None else _checked_sizes(sizes),
        shared_only,
    )
    return _tidy(inputs, _checked_measures(measures, has_texts=texts is not None))


def of_model(frame: pd.DataFrame, model: str) -> pd.DataFrame:
    """A pairs table with ``data_size`` from the text that this model has read (`text_sizes`).

    Parameters
    ----------
    frame : DataFrame
        As from `pairs`; without ``data_size`` it is given back.
    model : str
        Its name, as in a scores table.

    Returns
    -------
    DataFrame
        For encoders that began as XLM-R, such as multilingual-e5-small, a language that CC-100
        lacks is a level, not a gap: columns `LEVELS` are added, 1 where it has the language in a
        script of the same letters, else 0. ``data_size`` is then log10 of the smaller size in
        bytes, a language outside CC-100 counting as a tenth of the smallest in it; no pair lacks
        it. The text pairs that E5 was trained on later are not counted: their languages are not
        published.
    """
    if _LEVELLED.match(model.casefold()) and "data_size" in frame:
        return _levelled(frame)
    sizes = text_sizes(model)
    if sizes == text_sizes() or "data_size" not in frame:
        return frame
    codes = sorted({*frame["source"], *frame["target"]})
    fresh = pairs(codes, measures=["data_size"], sizes=sizes)
    both = frame.drop(columns="data_size").merge(fresh, on=["source", "target"], how="left")
    return both[list(frame)]


def _levelled(frame: pd.DataFrame) -> pd.DataFrame:
    """`of_model` with levels."""
    size = {c: cc100_bytes(language(c)) for c in {*frame["source"], *frame["target"]}}
    least = math.log10(min(_sizes(*_BYTES).values())) - 1
    log = {c: least if n is None else math.log10(n) for c, n in size.items()}
    known = {c: float(n is not None) for c, n in size.items()}
    source, target = frame["source"], frame["target"]
    smaller = np.minimum(source.map(log), target.map(log))
    both = dict(zip(LEVELS, (source.map(known), target.map(known)), strict=True))
    return frame.assign(data_size=smaller, **both)


def cc100_bytes(lang: Language) -> float | None:
    """Bytes of CC-100 in a language, in its script or one that has letters in common, or None.

    Its tokens are misprinted for Swedish and Ukrainian.
    """
    sizes = _sizes(*_BYTES)
    if lang in sizes:
        return sizes[lang]
    same = (k for k in sizes if k.code == lang.code and shared_script(k.script, lang.script))
    return next((sizes[k] for k in same), None)


def _checked_measures(names: Iterable[str] | None, *, has_texts: bool) -> list[_Measure]:
    if names is None:
        return [m for n, m in MEASURES.items() if has_texts or n not in _OF_TEXTS]
    chosen = []
    for n in dict.fromkeys([names] if isinstance(names, str) else names):
        if n not in MEASURES:
            raise unknown("measure", n, MEASURES, "See xltlib.languages.similarity.MEASURES.")
        if n in _OF_TEXTS and not has_texts:
            raise ValueError(f"measure {n!r} compares texts: give texts=…")
        chosen.append(MEASURES[n])
    return chosen


def _checked_sizes(sizes: Mapping[Any, float]) -> dict[Language, float]:
    for code, size in sizes.items():
        if not size >= 0:
            raise ValueError(f"size of {code!r} is {size!r}; give tokens, a number of 0 or more.")
    return {language(k) if isinstance(k, str) else k: float(v) for k, v in sizes.items()}


def _tidy(inputs: _Inputs, measures: Sequence[_Measure]) -> pd.DataFrame:
    """(m, n) arrays to one row per pair."""
    import pandas as pd

    source = np.repeat([s.key for s in inputs.sources], len(inputs.targets))
    target = np.tile([t.key for t in inputs.targets], len(inputs.sources))
    columns = {m.name: m.compute(inputs).ravel() for m in measures}
    columns |= {f"coverage_{m.name}": m.coverage(inputs).ravel() for m in measures if m.coverage}
    frame = pd.DataFrame({"source": source, "target": target} | columns)
    return frame[frame["source"] != frame["target"]].reset_index(drop=True)


def imputed(pairs: pd.DataFrame) -> pd.DataFrame:
    """Whether each value of a pairs table rests on nothing observed in both languages (coverage 0).

    Returns
    -------
    DataFrame
        True or False, one column per measure; False where the table states no coverage.
    """
    names = [str(c) for c in pairs.select_dtypes("number") if not str(c).startswith("coverage_")]
    none = {c: pairs[f"coverage_{c}"].eq(0) if f"coverage_{c}" in pairs else False for c in names}
    return pairs[[]].assign(**none)

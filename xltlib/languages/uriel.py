"""lang2vec's language features, read once and kept compact.

The numbers are URIEL's (Littell et al. 2017, https://aclanthology.org/E17-2002) as packaged in
lang2vec. Its files are read directly: importing lang2vec takes seconds and fetching `fam` as
long again. A compact copy goes to the user's cache (`XLT_CACHE` moves it).

One repair is made. lang2vec files many languages under the macrolanguage: `ekk` (Estonian) has
no family and a third of the observations of `est`, `lvs` (Latvian) none at all. So the
macrolanguage's row speaks where the row of the member that stands for it is silent:
observed there > observed for the macrolanguage > imputed in the fuller of the two rows.
(lang2vec's own list of languages holds the first 3,718 rows of its family file; there are 7,970.)
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache, cached_property
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import platformdirs

from xltlib.io import whole
from xltlib.languages.tables import SPEAKS_FOR

_Array = npt.NDArray[np.float64]
_Codes = npt.NDArray[np.str_]
_FILES = {
    "average": "feature_averages.npz",
    "knn": "feature_predictions.npz",
    "family": "family_features.npz",
    "geo": "geocoord_features.npz",
}
_LAYOUT = 2  # raise when the arrays of the cached copy change
# Glottolog's shelves for languages without a tree: sharing one is no kinship.
_NO_FAMILY = {
    "Artificial Language", "Bookkeeping", "Mixed Language", "Pidgin", "Sign Language",
    "Speech Register", "Unattested", "Unclassifiable",
}  # fmt: skip


@dataclass(frozen=True)
class _Uriel:
    """lang2vec's features, one row per language.

    Attributes
    ----------
    codes : (n,) ISO 639-3.
    features : (289,) names, `S_` syntax, `P_` phonology, `INV_` inventory.
    average : (n, 289) mean over URIEL's sources in 0..1, NaN where none observed the feature.
    knn : (n, 289) 0 or 1, gaps imputed by lang2vec from near languages.
    position : (n, 3) unit vector on the globe, NaN where unknown.
    nodes : Glottolog node names, ancestors before descendants.
    tree : (m, 2) pairs (language row, node) of every ancestor.
    """

    codes: _Codes
    features: _Codes
    average: npt.NDArray[np.float32]
    knn: npt.NDArray[np.uint8]
    position: _Array
    nodes: _Codes
    tree: npt.NDArray[np.int32]

    @cached_property
    def index(self) -> dict[str, int]:
        """Row of each code."""
        return {str(c): i for i, c in enumerate(self.codes)}

    @cached_property
    def observed(self) -> npt.NDArray[np.bool_]:
        """(n, 289) whether a source observed the feature."""
        return ~np.isnan(self.average)

    @cached_property
    def _starts(self) -> npt.NDArray[np.intp]:
        every = np.arange(len(self.codes) + 1)
        return np.asarray(np.searchsorted(self.tree[:, 0], every), dtype=np.intp)

    def ancestors(self, row: int) -> npt.NDArray[np.int32]:
        """Nodes above a language, the top-level family first."""
        return self.tree[:, 1][self._starts[row] : self._starts[row + 1]]

    def family(self, code: str) -> str | None:
        """Top-level family; None for isolates and languages without an entry."""
        if code not in self.index:
            return None
        above = self.ancestors(self.index[code])
        return str(self.nodes[above[0]]) if len(above) else None

    def rows(self, codes: Sequence[str]) -> npt.NDArray[np.int64]:
        """Row per code, -1 where lang2vec has none."""
        return np.array([self.index.get(c, -1) for c in codes], dtype=np.int64)


_ARRAYS = [field.name for field in fields(_Uriel)]


@cache
def load() -> _Uriel:
    """The table, from the cache or built from the installed lang2vec (under a second)."""
    folder = _data_folder()
    cache = Path(os.environ.get("XLT_CACHE") or platformdirs.user_cache_dir("xltlib"))
    cached = cache / f"uriel-{_fingerprint(folder)}.npz"
    try:
        with np.load(cached, allow_pickle=False) as stored:
            return _Uriel(**{name: stored[name] for name in _ARRAYS})
    except Exception:  # whatever a damaged zip file leads its reader to
        pass  # absent or damaged: build it again
    table = _build(folder)
    try:
        with whole(cached) as temporary, temporary.open("wb") as file:
            np.savez(file, **{name: getattr(table, name) for name in _ARRAYS})
    except OSError:
        pass  # a read-only folder costs the next start half a second, nothing else
    return table


def _data_folder() -> Path:
    """lang2vec's data folder, found without importing it (its import takes seconds)."""
    cure = "Install them with `pip install lang2vec`."
    try:
        # Not by `find_spec`: lang2vec also installs a script bin/lang2vec.py, which a program
        # started from that folder (`xlt` is one) would find first.
        found = metadata.distribution("lang2vec").locate_file("lang2vec/data")
    except metadata.PackageNotFoundError:
        raise ModuleNotFoundError(f"lang2vec is not installed. {cure}", name="lang2vec") from None
    folder = Path(str(found))
    missing = [f for f in _FILES.values() if not (folder / f).is_file()]
    if missing:
        raise ModuleNotFoundError(
            f"lang2vec's feature files were not found ({', '.join(missing)}). {cure}",
            name="lang2vec",
        )
    return folder


def _fingerprint(folder: Path) -> str:
    """Changes with lang2vec's files, the repair table and the layout."""
    sizes = [(f, (folder / f).stat().st_size) for f in _FILES.values()]
    what = repr((_LAYOUT, sizes, sorted(SPEAKS_FOR.items()), sorted(_NO_FAMILY)))
    return hashlib.sha256(what.encode()).hexdigest()[:16]


class _Raw(NamedTuple):
    """One of lang2vec's files: (languages, features) and a table of them."""

    languages: _Codes
    features: _Codes
    data: npt.NDArray[np.floating]


def _build(folder: Path) -> _Uriel:
    """Read lang2vec's four files, align their languages, let macrolanguages speak."""
    raw = {}
    for kind, file in _FILES.items():
        with np.load(folder / file, allow_pickle=False) as z:
            raw[kind] = _Raw(z["langs"], z["feats"], z["data"][:, :, 0])
    own = np.sort(raw["knn"].languages)
    extra = sorted(set(SPEAKS_FOR) - set(own))
    codes = np.concatenate([own, np.array(extra, dtype=own.dtype)])
    features = raw["knn"].features
    average = _aligned(raw["average"], own, features)
    knn = _aligned(raw["knn"], own, features)
    average, knn = _repaired(np.where(average < 0, np.nan, average), knn, codes, len(own))
    where = {str(c): p for c, p in zip(own, _positions(raw["geo"], own), strict=True)}
    nowhere = np.full(3, np.nan)
    position = np.array([where.get(c, where.get(SPEAKS_FOR.get(c, ""), nowhere)) for c in codes])
    tree, nodes = _tree(raw["family"], codes)
    return _Uriel(
        codes, features, average.astype(np.float32), knn.astype(np.uint8), position, nodes, tree
    )


def _aligned(raw: _Raw, codes: _Codes, features: _Codes) -> _Array:
    """Rows and columns in our order: each lang2vec file has its own."""
    row = {c: i for i, c in enumerate(raw.languages)}
    column = {f: i for i, f in enumerate(raw.features)}
    rows, columns = [row[c] for c in codes], [column[f] for f in features]
    return raw.data[np.ix_(rows, columns)].astype(np.float64)


def _repaired(average: _Array, knn: _Array, codes: _Codes, n_own: int) -> tuple[_Array, _Array]:
    """Fill silent cells of a member from its macrolanguage (see the module's head)."""
    grown = len(codes) - n_own
    average = np.vstack([average, np.full((grown, average.shape[1]), np.nan)])
    knn = np.vstack([knn, np.zeros((grown, knn.shape[1]))])
    row = {str(c): i for i, c in enumerate(codes)}
    before, before_knn = average.copy(), knn.copy()
    for member, macro in SPEAKS_FOR.items():
        if macro not in row:
            continue
        i, j = row[member], row[macro]
        silent, heard = np.isnan(before[i]), ~np.isnan(before[j])
        average[i] = np.where(silent & heard, before[j], before[i])
        fuller = i < n_own and (~silent).sum() >= heard.sum()
        imputed = before_knn[i] if fuller else before_knn[j]
        knn[i] = np.where(~silent, before_knn[i], np.where(heard, before_knn[j], imputed))
    return average, knn


def _positions(raw: _Raw, codes: _Codes) -> _Array:
    """Places on the globe, from lang2vec's distances to 299 fixed points.

    A `GC_lat_lon` feature is the great-circle distance to that point over half the equator, so
    cos(pi * feature) = point . place is linear in the place: one least-squares solve for all.
    """
    lat, lon = np.radians([[float(x) for x in f.split("_")[1:]] for f in raw.features]).T
    points = np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    place = np.linalg.lstsq(points, np.cos(np.pi * raw.data.astype(np.float64)).T, rcond=None)[0].T
    length = np.linalg.norm(place, axis=1, keepdims=True)
    place = np.where(np.abs(length - 1) < 0.05, place / length, np.nan)  # off the globe: no place
    row = {c: i for i, c in enumerate(raw.languages)}
    return place[[row[c] for c in codes]]


def _tree(raw: _Raw, codes: _Codes) -> tuple[npt.NDArray[np.int32], _Codes]:
    """(language row, node) pairs; lang2vec lists ancestors before descendants."""
    nodes = np.array([f.removeprefix("F_") for f in raw.features])
    kin = np.isin(nodes, sorted(_NO_FAMILY), invert=True)
    above: dict[str, npt.NDArray[np.int64]] = {}
    for code, line in zip(raw.languages, raw.data > 0, strict=True):
        above[str(code)] = np.flatnonzero(line & kin)
    empty = np.empty(0, dtype=np.int64)
    tree = []
    for i, code in enumerate(codes):
        found = above.get(str(code), empty)
        if not len(found):
            found = above.get(SPEAKS_FOR.get(str(code), ""), empty)
        tree.append(np.column_stack([np.full(len(found), i), found]))
    return np.vstack(tree).astype(np.int32), nodes

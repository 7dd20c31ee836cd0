"""Where the data sets live: one card each (`cards/*.yml`), written down, nothing fetched.

A card names the public place (`Hub`: the Hugging Face Hub, script-free, revision pinned; `Files`:
files with a checksum), the columns, the licence, which part of which file is train, validation and
test, and which tasks read it, with made-up samples. `copy` is where a local tree (environment
variable ``XLT_DATA``) has the same data in another layout.

The revisions of the Hub are those that public code pins for the script-free form; no machine that
wrote the cards saw the Hub. A load reports the revision that it got.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BeforeValidator, ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from xltlib.errors import unknown

Split = Literal["train", "validation", "test", "all"]
_Kind = Literal["choice", "tags", "question"]
_Format = Literal["jsonl", "csv", "tsv", "parquet", "conll", "squad"]
_STRICT = ConfigDict(extra="forbid")


def _words(given: Any) -> Any:
    """Words of a text, for lists that are easier to read so (and ``digest bytes``)."""
    return tuple(given.split()) if isinstance(given, str) else given


def _codes(given: Any) -> Any:
    """Codes that stand for themselves, unless a mapping is given."""
    return {code: code for code in given.split()} if isinstance(given, str) else given


def _part(given: Any) -> Any:
    """``train`` or ``[train, 0, 0.9]``."""
    if isinstance(given, str):
        return {"raw": given}
    return (
        dict(zip(("raw", "start", "stop"), given, strict=True))
        if isinstance(given, list)
        else given
    )


_Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
_Codes = Annotated[Mapping[str, str], BeforeValidator(_codes)]
Checksums = Mapping[str, Annotated[tuple[str, int], BeforeValidator(_words)]]


@dataclass(frozen=True, eq=False, config=_STRICT)
class Hub:
    """A data set on the Hugging Face Hub in script-free form.

    Attributes
    ----------
    id, revision
        Repository and pinned commit.
    codes
        Language code -> what stands for ``{code}`` in `config` (and in `prefix`).
    config
        Configuration's name, which is also the folder of its files.
    columns
        Our name -> theirs.
    labels
        Names of integer labels, where the Hub's own names are not ours.
    prefix
        Keep only the rows whose id starts so: languages that share one configuration.
    """

    id: str
    revision: str
    codes: _Codes
    config: str
    columns: Mapping[str, str] = field(default_factory=dict)
    labels: _Words = ()
    prefix: str = ""

    @property
    def url(self) -> str:
        return f"https://huggingface.co/datasets/{self.id}/tree/{self.revision}"


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a file holds its examples.

    Attributes
    ----------
    format
        jsonl, csv, tsv, parquet, conll or squad. ``tsv`` is not quoted, ``csv`` is.
    columns
        Our name -> the file's: a column's name, or its number from 0 (from -1 at the end) in
        CoNLL columns and in files without a header. Names of nested fields take a point
        (``answers.text``). What is not listed has our name in the file too.
    header
        Whether csv and tsv start with a line of names.
    separator
        Between CoNLL columns.
    """

    format: _Format
    columns: Mapping[str, str | int] = field(default_factory=dict)
    header: bool = True
    separator: str = "\t"

    def __post_init__(self) -> None:
        if self.format not in get_args(_Format):
            raise unknown("file format", self.format, get_args(_Format), "use one of these")


@dataclass(frozen=True, config=_STRICT)
class Archive:
    """A tar.gz: where it is, its SHA-256, and the folder inside that has the files."""

    url: str
    sha256: str
    folder: str


@dataclass(frozen=True, eq=False, config=_STRICT)
class Files:
    """Files at ``{repository}/{path}`` under ``XLT_DATA``, and on GitHub or in `archive` in public.

    Attributes
    ----------
    repository
        ``owner/repository/commit`` of a GitHub repository, or a folder.
    codes
        Language code -> what stands for ``{code}`` in the paths.
    paths
        Raw split -> path below `repository`. One path for several splits: see `split_column`.
    layout
        How the files hold their examples.
    split_column, split_values
        The column that names a row's split, and raw split -> its value there.
    archive
        Where the same paths are in public, if not on GitHub.
    ids
        Whether the ids in the files tell examples apart.
    checksums
        Path -> (SHA-256, bytes) of every file whose bytes are known.
    """

    repository: str
    codes: _Codes
    paths: Mapping[str, str]
    layout: Layout
    split_column: str = ""
    split_values: Mapping[str, str] = field(default_factory=dict)
    archive: Archive | None = None
    ids: bool = True
    checksums: Checksums = field(default_factory=dict)

    @property
    def url(self) -> str:
        if self.archive:
            return self.archive.url
        name, _, commit = self.repository.rpartition("/")
        return f"https://github.com/{name}/tree/{commit}"

    def path(self, code: str, raw: str) -> str:
        """Path below `repository` of a language and raw split."""
        return self.paths[raw].format(code=self.codes[code])


@dataclass(frozen=True, config=_STRICT)
class Part:
    """A share of a raw split, cut between groups (articles) in an order that never changes."""

    raw: str
    start: float = 0.0
    stop: float = 1.0


@dataclass(frozen=True, config=_STRICT)
class View:
    """How a task reads a data set.

    Attributes
    ----------
    kind
        What an example must hold: ``choice`` text fields and a label; ``tags`` words and tags;
        ``question`` question, context, answers.
    fields
        The text fields.
    labels
        Legal labels or tags (without B- and I- where `spans`).
    spans
        Whether tags are BIO tags.
    numbered
        Whether words are numbered by sentinels, of which there are a hundred.
    derive
        What makes examples of a row that is none as it stands (`xltlib.data.datasets._DERIVE`).
    samples
        Made-up examples: ``language``, the fields, and ``outputs``, pairs of what a model might
        say and what to look at.
    card
        The data set.
    """

    kind: _Kind
    fields: _Words
    labels: _Words = ()
    spans: bool = False
    numbered: bool = False
    derive: str = ""
    samples: tuple[Mapping[str, Any], ...] = ()
    card: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """What a user's own file must hold."""
        more = {"choice": "label", "tags": "tags", "question": "answers"}
        return (*self.fields, more[self.kind])


@dataclass(frozen=True, config=_STRICT)
class Card:
    """One data set.

    Attributes
    ----------
    columns
        Names of the columns that are read; ``id`` and ``title`` only where there are any.
    splits
        Split -> the raw split, or the share of one, that it is.
    parallel
        Whether the same id means the same item in every language.
    tasks
        Task -> how it reads the data.
    """

    name: str
    title: str
    licence: str
    paper: str
    columns: _Words
    splits: Mapping[str, Annotated[Part, BeforeValidator(_part)]]
    parallel: bool
    source: Hub | Files
    copy: Files | None = None
    notes: str = ""
    tasks: Mapping[str, View] = field(default_factory=dict)

    @property
    def files(self) -> list[Files]:
        """The places that are files."""
        return [place for place in (self.source, self.copy) if isinstance(place, Files)]


def read_cards(folder: Path, of: type[Any]) -> dict[str, Any]:
    """Every card of a folder, checked, by the name of its file.

    Raises
    ------
    ValueError
        A key that is unknown or missing, with the file's name.
    """
    adapter, loader = TypeAdapter(of), getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("*.yml")):
        content = yaml.load(path.read_text(encoding="utf-8"), loader)  # a safe loader
        try:
            found[path.stem] = adapter.validate_python({"name": path.stem} | content)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    return found


CARDS: dict[str, Card] = read_cards(Path(__file__).with_name("cards"), Card)
VIEWS: dict[str, View] = {
    task: replace(view, card=card.name)
    for card in CARDS.values()
    for task, view in card.tasks.items()
}

"""Where the data of the public tasks live: one card a data set, written down, nothing fetched.

A card names the public home (`Hub`: the Hugging Face Hub, script-free, revision pinned; `Files`:
files with a checksum), the columns, the licence, and which part of which file is train, validation
and test. `copy` is where a local tree (environment variable ``XLT_DATA``) has the same data in
another layout. `VIEWS` says which task reads which data set, and as what.

The revisions of the Hub are those that public code pins for the script-free form; no machine that
wrote this file saw the Hub. A load reports the revision that it got.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from xltlib.data.files import Layout, Row
from xltlib.data.massive import as_intent, as_questions, as_slots

Split = Literal["train", "validation", "test", "all"]
Kind = Literal["choice", "tags", "question"]


@dataclass(frozen=True, eq=False)
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
    raw
        Our name of a raw split -> theirs.
    labels
        Names of integer labels, where the Hub's own names are not ours.
    prefix
        Keep only the rows whose id starts so: languages that share one configuration.
    """

    id: str
    revision: str
    codes: Mapping[str, str]
    config: str
    columns: Mapping[str, str]
    raw: Mapping[str, str]
    labels: tuple[str, ...] = ()
    prefix: str = ""

    @property
    def url(self) -> str:
        return f"https://huggingface.co/datasets/{self.id}/tree/{self.revision}"


@dataclass(frozen=True, eq=False)
class Files:
    """Files at ``{home}/{path}`` under ``XLT_DATA``, and at `url` or in `archive` in public.

    Attributes
    ----------
    home
        ``owner/repository/commit`` of a GitHub repository, or a folder.
    codes
        Language code -> what stands for ``{code}`` in the paths.
    paths
        Raw split -> path below `home`. One path for several splits: see `where`.
    layout
        How the files hold their examples.
    where
        The column that names a row's split, and raw split -> its value there.
    archive
        (URL, SHA-256, folder inside) of a tar.gz with the same paths.
    public
        Whether the files may be fetched from the repository on GitHub.
    ids
        Whether the ids in the files tell examples apart.
    """

    home: str
    codes: Mapping[str, str]
    paths: Mapping[str, str]
    layout: Layout
    where: tuple[str, Mapping[str, str]] | None = None
    archive: tuple[str, str, str] | None = None
    public: bool = True
    ids: bool = True

    @property
    def url(self) -> str:
        if self.archive:
            return self.archive[0]
        owner, repository, commit = self.home.split("/")
        return f"https://github.com/{owner}/{repository}/tree/{commit}"


@dataclass(frozen=True)
class Part:
    """A share of a raw split, cut between groups (articles) in an order that never changes."""

    raw: str
    start: float = 0.0
    stop: float = 1.0


@dataclass(frozen=True)
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
    """

    name: str
    title: str
    licence: str
    paper: str
    columns: tuple[str, ...]
    splits: Mapping[str, Part]
    parallel: bool
    source: Hub | Files
    copy: Files | None = None
    notes: str = ""


@dataclass(frozen=True)
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
        Row -> examples' rows, where a row is not an example as it stands.
    """

    card: str
    kind: Kind
    fields: tuple[str, ...]
    labels: tuple[str, ...] = ()
    spans: bool = False
    numbered: bool = False
    derive: Callable[[Row, str], list[Row]] = field(default=lambda row, code: [row])


# ---------------------------------------------------------------- the table


def same(codes: str) -> dict[str, str]:
    """Codes that stand for themselves."""
    return {code: code for code in codes.split()}


OFFICIAL = {s: Part(s) for s in ("train", "validation", "test")}
HUB_RAW = {s: s for s in OFFICIAL}
QA = ("id", "title", "question", "context", "answers")
SQUAD = Layout("squad")

NLI = ("entailment", "neutral", "contradiction")
PARAPHRASE = ("different_meaning", "paraphrase")
PANX = ("PER", "LOC", "ORG")
MASAKHANE = (*PANX, "DATE")
TOPICS = (
    "science/technology", "travel", "politics", "sports", "health", "entertainment", "geography",
)  # fmt: skip
UPOS = (
    "ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART", "PRON", "PROPN",
    "PUNCT", "SCONJ", "SYM", "VERB", "X",
)  # fmt: skip
INTENTS = tuple(
    """alarm_query alarm_remove alarm_set audio_volume_down audio_volume_mute audio_volume_other
    audio_volume_up calendar_query calendar_remove calendar_set cooking_query cooking_recipe
    datetime_convert datetime_query email_addcontact email_query email_querycontact email_sendemail
    general_greet general_joke general_quirky iot_cleaning iot_coffee iot_hue_lightchange
    iot_hue_lightdim iot_hue_lightoff iot_hue_lighton iot_hue_lightup iot_wemo_off iot_wemo_on
    lists_createoradd lists_query lists_remove music_dislikeness music_likeness music_query
    music_settings news_query play_audiobook play_game play_music play_podcasts play_radio
    qa_currency qa_definition qa_factoid qa_maths qa_stock recommendation_events
    recommendation_locations recommendation_movies social_post social_query takeaway_order
    takeaway_query transport_query transport_taxi transport_ticket transport_traffic
    weather_query""".split()
)
SLOTS = tuple(
    """alarm_type app_name artist_name audiobook_author audiobook_name business_name business_type
    change_amount coffee_type color_type cooking_type currency_name date definition_word device_type
    drink_type email_address email_folder event_name food_type game_name game_type general_frequency
    house_place ingredient joke_type list_name meal_type media_type movie_name movie_type
    music_album music_descriptor music_genre news_topic order_type person personal_info place_name
    player_setting playlist_name podcast_descriptor podcast_name radio_name relation song_name
    sport_type time time_zone timeofday transport_agency transport_descriptor transport_name
    transport_type weather_descriptor""".split()
)

XTREME = ("google/xtreme", "ec5f1f46e9af79639a90684a7a70a956c4998f04")
_COPY = "wuhjie/few_shots_that_matters_wu/6bfe6324e428ec21a777b5543cd8e50ec82dcb3c"
_MASSIVE = (
    "https://amazon-massive-nlu-dataset.s3.amazonaws.com/amazon-massive-dataset-1.1.tar.gz",
    "4cba5faa11c71437928e17cb1b9b3d8b8e727e7ea363a3a9a8045e19c0491577",
    "1.1",
)
_SIB = "dadelani/sib-200/593cea88519930f776c1a4a1980b6a35b39dca57"
_MASAKHA2 = "bam bbj ewe fon hau ibo kin lug luo mos nya pcm sna swa tsn twi wol xho yor zul"
_XTREME_UD = (
    "Afrikaans Arabic Basque Bulgarian Chinese Dutch English Estonian Finnish French German Greek "
    "Hebrew Hindi Hungarian Indonesian Italian Japanese Kazakh Korean Marathi Persian Portuguese "
    "Russian Spanish Tagalog Tamil Telugu Thai Turkish Urdu Vietnamese Yoruba"
)


def known_files() -> dict[str, tuple[str, int]]:
    """Path -> (SHA-256, bytes) of every file whose bytes are known: `hub.sha256`."""
    return dict(_known_files())


@cache
def _known_files() -> tuple[tuple[str, tuple[str, int]], ...]:
    lines = Path(__file__).with_name("hub.sha256").read_text(encoding="utf-8").splitlines()
    cells = (line.split("  ", 2) for line in lines)
    return tuple((path, (digest, int(size))) for digest, size, path in cells)


def _sib_codes() -> dict[str, str]:
    """The 205 languages of SIB-200, from the list of its files."""
    inside = f"{_SIB}/data/annotated/"
    return {p.split("/")[-2]: p.split("/")[-2] for p, _ in _known_files() if p.startswith(inside)}


def _catalogue() -> tuple[Card, ...]:
    """Every card."""
    return (
        Card(
            "xnli", "XNLI, natural language inference", "CC BY-NC 4.0",
            "Conneau et al. 2018, D18-1269", ("premise", "hypothesis", "label"), OFFICIAL, True,
            Hub("facebook/xnli", "b8dd5d7af51114dbda02c0e3f6133f332186418e",
                same("ar bg de el en es fr hi ru sw th tr ur vi zh"), "{code}", {}, HUB_RAW),
            Files(_COPY, same("ar bg de el en es fr hi ru sw th tr ur vi zh"),
                  {"validation": "data/xnli/dev-{code}.tsv"},
                  Layout("tsv", {"premise": 0, "hypothesis": 1, "label": 2}, header=False),
                  public=False),
            notes="Training data of all languages but English are machine translations.",
        ),
        Card(
            "pawsx", "PAWS-X, paraphrases", "free for any purpose, Google LLC to be acknowledged",
            "Yang et al. 2019, D19-1382", ("id", "sentence1", "sentence2", "label"), OFFICIAL, True,
            Hub("google-research-datasets/paws-x", "4cd8187c404bda33cb1f62b49b001115862acf37",
                same("de en es fr ja ko zh"), "{code}", {}, HUB_RAW, labels=PARAPHRASE),
            notes="Training data of all languages but English are machine translations.",
        ),
        Card(
            "wikiann", "WikiANN (PAN-X), named entities from links",
            "text CC BY-SA (Wikipedia); annotations: none stated", "Pan et al. 2017, P17-1178; "
            "splits of Rahimi et al. 2019, P19-1015", ("words", "tags"), OFFICIAL, False,
            Hub(*XTREME, same(
                "af ar bg bn de el en es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr ms my "
                "nl pt ru sw ta te th tl tr ur vi yo zh"), "PAN-X.{code}",
                {"words": "tokens", "tags": "ner_tags"}, HUB_RAW),
            Files("Babelscape/wikineural/d2e28c770cba2b285e742529ae18ed849e336c65",
                  same("de en es ru"),
                  {s: f"data/wikiann/{{code}}/{s}.conllu" for s in ("train", "test")},
                  Layout("conll", {"words": 1, "tags": 2}), public=False),
        ),
        Card(
            "masakhaner", "MasakhaNER 2.0 and (Amharic) 1.0, named entities", "CC BY-NC 4.0",
            "Adelani et al. 2022, 2022.emnlp-main.298; 2021, 2021.tacl-1.66", ("words", "tags"),
            OFFICIAL, False,
            Files("masakhane-io/masakhane-ner/ba5843cd08aa491d5f96a5e809e71eb9ec461391",
                  {c: f"MasakhaNER2.0/data/{c}" for c in _MASAKHA2.split()} | {"amh": "data/amh"},
                  {"train": "{code}/train.txt", "validation": "{code}/dev.txt",
                   "test": "{code}/test.txt"},
                  Layout("conll", {"words": 0, "tags": 1}, separator=" ")),
        ),
        Card(
            "tydiqa", "TyDi QA, gold passage", "Apache-2.0",
            "Clark et al. 2020, 2020.tacl-1.30", QA,
            {"train": Part("train", 0, 0.9), "validation": Part("train", 0.9, 1),
             "test": Part("validation"), "all": Part("train")}, False,
            Hub("google-research-datasets/tydiqa", "da78f23f9119363459acbaf46bf89426ff26c259",
                {"ar": "arabic", "bn": "bengali", "en": "english", "fi": "finnish",
                 "id": "indonesian", "ko": "korean", "ru": "russian", "sw": "swahili",
                 "te": "telugu"}, "secondary_task", {}, HUB_RAW, prefix="{code}-"),
            Files(_COPY, same("en ko sw"), {
                "train": "data/tydiqa/tydiqa-goldp-v1.1-train/tydiqa.goldp.{code}.train.json"},
                SQUAD, public=False, ids=False),
            notes="Test answers are not public: the official validation set is the test set here, "
            "and a tenth of the training articles is held out to choose models on.",
        ),
        Card(
            "xquad", "XQuAD, SQuAD's questions in twelve languages", "CC BY-SA 4.0",
            "Artetxe et al. 2020, 2020.acl-main.421", QA,
            {"train": Part("test", 0, 0.5), "validation": Part("test", 0.5, 0.625),
             "test": Part("test", 0.625, 1), "all": Part("test")}, True,
            Files("google-deepmind/xquad/7d30520c717524000f0d9d2f9c10a069acd9d285",
                  same("ar de el en es hi ro ru th tr vi zh"),
                  {"test": "xquad.{code}.json"}, SQUAD),
            notes="One split of 48 articles, cut here into 24, 6 and 18. `all` is the whole, to "
            "compare with published scores of models trained on SQuAD.",
        ),
        Card(
            "squad", "SQuAD 1.1, English questions (XTREME's copy)", "CC BY-SA 4.0",
            "Rajpurkar et al. 2016, D16-1264", QA,
            {"train": Part("train", 0, 0.95), "validation": Part("train", 0.95, 1),
             "test": Part("validation")}, False,
            Hub(*XTREME, same("en"), "SQuAD", {}, {s: s for s in ("train", "validation")}),
            notes="Models are chosen on a twentieth of the training articles: XQuAD's questions "
            "are taken from the official validation set, which is the test set here.",
        ),
        Card(
            "mlqa", "MLQA, extractive questions", "CC BY-SA 3.0",
            "Lewis et al. 2020, 2020.acl-main.653", QA,
            {s: Part(s) for s in ("validation", "test")}, True,
            Hub(*XTREME, same("ar de en es hi vi zh"), "MLQA.{code}.{code}", {},
                {s: s for s in ("validation", "test")}),
            Files(_COPY, same("ar de en es hi vi zh"), {
                "validation": "data/mlqa/MLQA_V1/dev/dev-context-{code}-question-{code}.json"},
                SQUAD, public=False),
            notes="No training data: train on another question task (train_on: squad).",
        ),
        Card(
            "sib200", "SIB-200, topics of FLORES-200 sentences",
            "CC BY-SA 4.0 (text of FLORES-200)", "Adelani et al. 2024, 2024.eacl-long.14",
            ("id", "text", "label"), OFFICIAL, True,
            Files(_SIB, _sib_codes(),
                  {s: f"data/annotated/{{code}}/{f}.tsv" for s, f in
                   (("train", "train"), ("validation", "dev"), ("test", "test"))},
                  Layout("tsv", {"id": "index_id", "label": "category"})),
        ),
        Card(
            "massive", "MASSIVE 1.1, voice-assistant utterances", "CC BY 4.0",
            "FitzGerald et al. 2023, 2023.acl-long.235", ("id", "intent", "utt", "annot_utt"),
            OFFICIAL, True,
            Files("amazon-massive-dataset/1.1", same(
                "af-ZA am-ET ar-SA az-AZ bn-BD ca-ES cy-GB da-DK de-DE el-GR en-US es-ES fa-IR "
                "fi-FI fr-FR he-IL hi-IN hu-HU hy-AM id-ID is-IS it-IT ja-JP jv-ID ka-GE km-KH "
                "kn-IN ko-KR lv-LV ml-IN mn-MN ms-MY my-MM nb-NO nl-NL pl-PL pt-PT ro-RO ru-RU "
                "sl-SL sq-AL sv-SE sw-KE ta-IN te-IN th-TH tl-PH tr-TR ur-PK vi-VN zh-CN zh-TW"),
                {s: "data/{code}.jsonl" for s in OFFICIAL}, Layout("jsonl"),
                where=("partition", {"train": "train", "validation": "dev", "test": "test"}),
                archive=_MASSIVE),
        ),
        Card(
            "udpos", "Universal Dependencies 2.5, parts of speech (XTREME's selection)",
            "by treebank: mostly CC BY-SA, several CC BY-NC-SA (among them ar et hi ta ur)",
            "Zeman et al. 2019, Universal Dependencies 2.5; Hu et al. 2020 (XTREME)",
            ("words", "tags"), OFFICIAL, False,
            Hub(*XTREME, same(_XTREME_UD), "udpos.{code}", {"words": "tokens", "tags": "pos_tags"},
                HUB_RAW),
            Files(_COPY, same(
                "ar bg de el en es et eu fa fi fr he hi hu id ja ko ru ta te tr ur vi zh"),
                {"train": "data/udpos/train-{code}.tsv", "validation": "data/udpos/dev-{code}.tsv"},
                Layout("conll", {"words": 0, "tags": 1}), public=False),
        ),
    )  # fmt: skip


CARDS: dict[str, Card] = {card.name: card for card in _catalogue()}

VIEWS: dict[str, View] = {
    "xnli": View("xnli", "choice", ("premise", "hypothesis"), NLI),
    "pawsx": View("pawsx", "choice", ("sentence1", "sentence2"), PARAPHRASE),
    "wikiann": View("wikiann", "tags", ("words",), PANX, spans=True),
    "masakhaner": View("masakhaner", "tags", ("words",), MASAKHANE, spans=True),
    "tydiqa": View("tydiqa", "question", ("question", "context")),
    "xquad": View("xquad", "question", ("question", "context")),
    "mlqa": View("mlqa", "question", ("question", "context")),
    "squad": View("squad", "question", ("question", "context")),
    "sib200": View("sib200", "choice", ("text",), TOPICS),
    "massive_intent": View("massive", "choice", ("text",), INTENTS, derive=as_intent),
    "massive_slots": View(
        "massive", "tags", ("words",), SLOTS, spans=True, numbered=True, derive=as_slots
    ),
    "massive_qa": View("massive", "question", ("question", "context"), derive=as_questions),
    "udpos": View("udpos", "tags", ("words",), UPOS, numbered=True),
}


def columns_of(task: str) -> dict[str, Any]:
    """What a user's own file must hold for a task: column -> what it is."""
    view = VIEWS[task]
    text = {name: "text" for name in view.fields if view.kind != "tags"}
    extra: dict[str, dict[str, Any]] = {
        "choice": {"label": f"one of {', '.join(view.labels)}"},
        "tags": {"words": "list of words", "tags": "one tag a word"},
        "question": {"answers.text": "list of right answers, each a stretch of the context"},
    }
    return text | extra[view.kind]

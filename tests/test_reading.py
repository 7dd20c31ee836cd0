"""Tables as people have them: every form is read as the same scores, what is no table says why."""

from __future__ import annotations

import csv
import io
import itertools
import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from xltlib import reading
from xltlib import scores as sc
from xltlib.book import inputs
from xltlib.languages import language

pytestmark = pytest.mark.filterwarnings("ignore::xltlib.scores.ScoresWarning")
BOOK = Path(__file__).resolve().parents[1] / "book"
RIGHT = {
    ("eng", "eng"): 0.81, ("eng", "deu"): 0.715, ("eng", "tur"): 0.655,
    ("deu", "eng"): 0.75, ("deu", "deu"): 0.76, ("deu", "tur"): 0.67,
    ("tur", "eng"): 0.775, ("tur", "deu"): 0.705, ("tur", "tur"): 0.7,
}  # fmt: skip
MATRIX = ",en,de,tr\nen,81,71.5,65.5\nde,75,76,67\ntr,77.5,70.5,70\n"


def examples(name: str) -> list[list[str]]:
    """The rows of a table of the book, without the fences around the examples."""
    with (BOOK / name).open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    return [[cell.removeprefix("```text\n").removesuffix("\n```") for cell in row] for row in rows]


def read(folder: Path, content: str | bytes, name: str = "t.csv", **how: object) -> pd.DataFrame:
    data = content.encode() if isinstance(content, str) else content
    (folder / name).write_bytes(data)
    return sc.read(folder / name, **how)  # type: ignore[arg-type]


def values(table: pd.DataFrame) -> dict[tuple[str, str], float]:
    return table.set_index(["source", "target"])["score"].round(9).to_dict()


@pytest.mark.parametrize(("form", "example", "note"), examples("forms.csv"))
def test_every_form_of_the_book_is_the_same_table(
    tmp_path: Path, form: str, example: str, note: str
) -> None:
    assert note
    assert values(read(tmp_path, example)) == RIGHT


@pytest.mark.parametrize(("example", "words"), examples("refused.csv"))
def test_what_the_book_says_is_refused(tmp_path: Path, example: str, words: str) -> None:
    with pytest.raises(ValueError) as error:
        read(tmp_path, example)
    assert words in str(error.value)
    for never in ("damaged", "no table", "unexpected"):
        assert never not in str(error.value)


CELLS = {(s, t): f"{100 * v:g}" for (s, t), v in RIGHT.items()}
SHORT = {"en": "eng", "de": "deu", "tr": "tur"}


def written(corner: str = "", heads: str = "{}", cell: str = "{}", label: str = "{}") -> str:
    """The matrix of `RIGHT` with other headings, cells and labels."""
    rows = [[corner, *(heads.format(t) for t in SHORT)]]
    for s, source in SHORT.items():
        cells = (cell.format(CELLS[source, target]) for target in SHORT.values())
        rows.append([label.format(s), *cells])
    return "".join(",".join(row) + "\n" for row in rows)


def listed(heading: str, pair: str, sep: str = ",") -> str:
    rows = [(pair.format(s, t), CELLS[SHORT[s], SHORT[t]]) for s in SHORT for t in SHORT]
    return f"{heading}\n" + "".join(f"{one}{sep}{score}\n" for one, score in rows)


NAMED = ",{0},{1},{2}\n{0},81,71.5,65.5\n{1},75,76,67\n{2},77.5,70.5,70\n"
NESTED = {s: {t: f"{CELLS[SHORT[s], SHORT[t]]}%" for t in SHORT} for s in SHORT}
SIBLINGS = {
    "a metric that is a code too": written(heads="acc_{}"),
    "flags": written(heads="\U0001f1ec\U0001f1e7 {}"),
    "LaTeX in a cell": written(cell="${}_{{\\pm 0.3}}$"),
    "italics": written(cell="_{}_"),
    "a raised mark": written(cell="{}ᵃ"),
    "a column of sizes": MATRIX.replace(",en", ",size,en").replace("en,81", "en,900,81")
    .replace("de,75", "de,70,75").replace("tr,77.5", "tr,12,77.5"),
    "rows numbered by pandas": "".join(
        f"{head}{line}\n"
        for head, line in zip((",", "0,", "1,", "2,"), MATRIX.splitlines(), strict=True)
    ),
    "families, one of which is a code": written("Language", label="IE,{}").replace(
        "Language", "Family,Language"
    ),
    "a model beside sources called src": written("model,src", label="xlmr,{}"),
    "the heading once more": MATRIX + MATRIX.splitlines()[0] + "\n",
    "another arrow": listed("direction,acc", "{} ➔ {}"),
    "pairs of Python": listed("pair;acc", "('{}', '{}')", ";"),
    "P@1": listed("source,target,P@1", "{},{}"),
    "kappa": listed("donor,recipient,kappa", "{},{}"),
    "finetuning": listed("Finetuning language,Evaluation language,Balanced accuracy", "{},{}"),
    "French": listed("Langue source,Langue cible,score", "{},{}"),
    "boxes": MATRIX.replace(",", "│").replace("\n", "│\n").replace("en│81", "──┼──\nen│81"),
    "raised numbers": written(cell="{}<sup>1</sup>"),
    "raised numbers of LaTeX": written(cell="${}^{{1}}$"),
    "fullwidth digits": written().translate({ord(c): ord(c) + 0xFEE0 for c in "0123456789"}),
    "per cent beside fractions": MATRIX.replace("81", "81%").replace("71.5", "0.715")
    .replace("65.5", ".655").replace("75,76,67", "75 %,76%,0.67")
    .replace("77.5,70.5,70", "77.5%,0.705,0.70"),
    "names in German": NAMED.format("Englisch", "Deutsch", "Türkisch"),
    "names in Russian": NAMED.format("английский", "немецкий", "турецкий"),
    "codes and names": NAMED.format("en: English", "de - German", "tr Turkish"),
    "codes, bars and names": NAMED.format("en/English", "de|German", "tr/tur"),
    "sizes beside names": NAMED.format("en (n=500)", "de (1.5k)", "tr [300]"),
    "tokens": NAMED.format(">>eng<<", "<de>", "__tr__"),
    "quotes": NAMED.format("'en'", "`de`", "“tr”"),
    "fullwidth letters": NAMED.format("ｅｎ", "ｄｅ", "tr\u200b"),
    "source and target beside a code": listed("src,tgt,acc", "{},{}"),
    "a column of pairs without a heading": listed(",acc", "{}-{}"),
    "a column of pairs that is called lp": listed("lp,acc", "{}_{}"),
    "printed with one blank": listed("source target f1", "{} {}", " "),
    "means and deviations": "\n".join(
        ",".join([cells[0], *(f"{c},{end}" for c in cells[1:])]) for cells, end in (
            (["src", "en mean", "de mean", "tr mean"], "en sd"), *(
                (line.split(","), 0.5) for line in MATRIX.splitlines()[1:]))
    ).replace("de mean,en sd", "de mean,de sd").replace("tr mean,en sd", "tr mean,tr sd"),
    "a mean in Chinese": f"{MATRIX}平均,77.8,72.4,67\n",
    "a column of numbers above 100": MATRIX.replace(",en", ",n_train,en")
    .replace("en,81", "en,900,81").replace("de,75", "de,700,75").replace("tr,77.5", "tr,120,77.5"),
    "JSON, records below a setting": json.dumps({"model": "m", "results": [
        {"config": {"source": s, "target": t}, "acc": CELLS[SHORT[s], SHORT[t]]}
        for s in SHORT for t in SHORT]}),
    "JSON, all that the Trainer says": json.dumps({
        s: {t: {"eval_accuracy": RIGHT[SHORT[s], SHORT[t]], "eval_loss": 3, "eval_runtime": 9,
                "eval_samples_per_second": 33, "epoch": 3} for t in SHORT} for s in SHORT}),
    "JSON, numbers as text": json.dumps(NESTED),
    "JSON, a list of rows": json.dumps([line.split(",") for line in MATRIX.splitlines()]),
    "JSON, pairs as keys": json.dumps({f"{s}-{t}": v for s, of in NESTED.items()
                                       for t, v in of.items()}),
    "sources called by their data": written(label="masakhaner_{}"),
    "sources called by the model": written("Model", label="XLM-R ({})"),
    "sources called by the step": written(label="xlm-roberta-base-finetuned-{}"),
    "both called by their part": written(heads="{}_test", label="{}_train"),
    "names with accents": NAMED.format("Énglish", "Gérman", "Türkish"),
    "settings and results of wandb": listed(
        "config.source_language,config.target_language,summary.f1", "{},{}"),
    "links": NAMED.format(*(f"[{x}](https://a.org/{x})" for x in SHORT)),
    "not significant": written(cell="{} (n.s.)"),
    "triangles": written(cell="{}▲"),
    "deviations in LaTeX": "\\begin{tabular}{lrrr}" + written(cell=r"{}\std{{0.4}}").replace(
        ",", " & ").replace("\n", r" \\ ") + "\\end{tabular}",
    "two rows of headings of both sides": f"Fine-tuned on,Evaluated on,,\n{MATRIX}",
    "cells of LaTeX with a break": "\\begin{tabular}{lrrr}" + MATRIX.replace(",", " & ").replace(
        "\n", r" \\ ").replace("en & de", r"\makecell{English\\(en)} & de", 1)
    + "\\end{tabular}",
    "a statistic below each heading": "source,target,f1,f1,f1\n,,mean,std,count\n"
    + listed("", "{},{}").strip().replace("\n", ",0.5,3\n") + ",0.5,3\n",
    "as pandas writes statistics": ",,f1,f1,f1\n,,mean,std,count\nsource,target,,,\n"
    + listed("", "{},{}").strip().replace("\n", ",0.5,3\n") + ",0.5,3\n",
    "a column a cell": "\n".join(
        ",".join(column) for column in zip(*(
            line.split(",") for line in listed("source,target,score", "{},{}").split()),
            strict=True)),
}  # fmt: skip


@pytest.mark.parametrize("form", SIBLINGS)
def test_forms_that_were_misread_or_refused(tmp_path: Path, form: str) -> None:
    assert values(read(tmp_path, SIBLINGS[form])) == RIGHT


@pytest.mark.parametrize(
    ("title", "corner", "rows"),
    [
        ("", "source→target", "source"),
        ("", "train →", "target"),
        ("", "T\\S", "target"),
        ("", "S / T", "source"),
        ("", "Ziel / Quelle", "target"),
        ("Rows are target languages and columns are source languages", "", "target"),
        ("Accuracy; columns: test languages; rows: training languages", "", "source"),
    ],
)
def test_what_corner_or_title_say_of_the_rows_is_done(
    tmp_path: Path, title: str, corner: str, rows: str
) -> None:
    table = read(tmp_path, f"{title}\n{written(corner)}".lstrip())
    found = {(t, s) if rows == "target" else (s, t): v for (s, t), v in values(table).items()}
    assert found == RIGHT
    assert f"rows being {rows}s (it says" in sc.notes(table)[0]


def test_scores_of_several_models_or_tasks_in_columns(tmp_path: Path) -> None:
    pairs = listed("src,tgt,{}", "{},{}").strip().replace("\n", ",44\n") + ",44\n"
    for heads, kind in (("mBERT,XLM-R", "model"), ("NER,POS", "task"), ("run_1,run_2", "seed")):
        table = read(tmp_path, pairs.format("@").replace("@,44", heads))
        first = table[table[kind].astype(str) == heads.split(",")[0].removeprefix("run_")]
        assert values(first) == RIGHT and len(table) == 2 * len(RIGHT)


def test_short_names_of_treebanks(tmp_path: Path) -> None:
    rows = [f"{s},{t},{70 + i}.5" for i, s in enumerate(("en_ewt", "en_gum", "no_nynorsk"))
            for t in ("de_gsd", "zh_pud")]  # fmt: skip
    table = read(tmp_path, "source,target,las\n" + "\n".join(rows))
    assert set(table["source"]) == {"eng", "nno"}
    assert set(table["source_set"]) == {"ewt", "gum", "nynorsk"}


def test_a_column_of_sentences_is_refused_at_once(tmp_path: Path) -> None:
    rows = "".join(f"sentence number {i},Satz {i},0.5\n" for i in range(2000))
    with pytest.raises(ValueError, match="2000 different texts, .*name the column with the lang"):
        read(tmp_path, f"source,target,score\n{rows}")


def test_labels_that_say_which_part_they_are_say_which_side(tmp_path: Path) -> None:
    turned = {(t, s): v for (s, t), v in RIGHT.items()}
    for label in ("test_{}", "{} (test)", "eval/{}"):
        table = read(tmp_path, written(label=label))
        assert values(table) == turned and "rows being targets" in sc.notes(table)[0]
    assert values(read(tmp_path, written(label="train_{}"))) == RIGHT


@pytest.mark.parametrize("sign", ["#DIV/0!", "k.A.", "n. v.", "s.o.", "OOM", "failed", "N.D."])
def test_signs_of_a_missing_score(tmp_path: Path, sign: str) -> None:
    found = values(read(tmp_path, MATRIX.replace("70\n", f"{sign}\n")))
    assert found == {k: v for k, v in RIGHT.items() if k != ("tur", "tur")}


def test_a_second_table_below_is_a_further_task(tmp_path: Path) -> None:
    both = f"XNLI\n{MATRIX}\nPAWS-X\n{MATRIX.replace('81', '82')}"
    table = read(tmp_path, both)
    assert values(table[table["task"] != "PAWS-X"]) == RIGHT
    assert table.loc[table["task"] == "PAWS-X", "score"].max() == pytest.approx(0.82)


def test_a_gap_beside_codes_of_two_letters_is_no_language(tmp_path: Path) -> None:
    """`gap` is Gal too; its numbers may be gaps to anything."""
    lines = [f"{line},{end}" for line, end in zip(MATRIX.split(), ("gap", 3, 4, 5), strict=True)]
    assert values(read(tmp_path, "\n".join(lines))) == RIGHT


def test_remarks_in_brackets_are_part_of_the_names_of_a_pair(tmp_path: Path) -> None:
    pairs = ("Norwegian (Bokmål)->English", "English->Chinese (Simplified)", "(Turkish, German)")
    rows = "".join(f'"{pair}";{50 + i}\n' for i, pair in enumerate(pairs))
    found = values(read(tmp_path, f"pair;acc\n{rows}"))
    assert found == {("nob", "eng"): 0.5, ("eng", "cmn"): 0.51, ("tur", "deu"): 0.52}


def test_a_heading_with_another_corner_is_not_left_out(tmp_path: Path) -> None:
    """Two models in blocks, each named at its corner, are not one model."""
    blocks = "mBERT,en,de\nen,81,71\nde,75,76\nXLM-R,en,de\ntr,77,70\nfr,82,72\n"
    with pytest.raises(ValueError, match="is 'en', not a number"):
        read(tmp_path, blocks)


def test_sindhi_beside_codes_of_two_letters_is_a_language(tmp_path: Path) -> None:
    """`sd` is a standard deviation only where it holds one: English is the one source of many."""
    targets = dict(zip("de tr hi ur sd fr".split(), (71, 65, 60, 58, 49, 70), strict=True))
    long = "source,target,score\n" + "".join(f"en,{t},{v}\n" for t, v in targets.items())
    wide = f"source,{','.join(targets)}\nen,{','.join(map(str, targets.values()))}\n"
    for text in (long, wide):
        assert values(read(tmp_path, text))["eng", "snd"] == 0.49


COUNTS = {"5_000": 5000, '"5,000"': 5000, "5 000": 5000, "5'000": 5000, "5k": 5000, "1.5K": 1500,
          "n=500": 500, "N = 500": 500, "500.0": 500, "(500)": 500, "500 items": 500, "１２": 12,
          "1e3": 1000, '"1,234,567"': 1234567, "**500**": 500, "": None}  # fmt: skip


@pytest.mark.parametrize("cell", COUNTS)
def test_sizes_as_people_write_them(tmp_path: Path, cell: str) -> None:
    text = f"source,target,acc,n_test\nen,de,71.5,{cell}\nen,tr,65.5,{cell}\n"
    assert set(read(tmp_path, text)["n_test"].astype("float").fillna(-1)) == {COUNTS[cell] or -1}
    semi = f"source;target;n_shots;acc\nen;de;{cell or 0};71,5\n".replace('"', "")
    assert read(tmp_path, semi)["n_target"][0] == (COUNTS[cell] or 0)


@pytest.mark.parametrize(
    ("cell", "words"),
    [("5.000", "write 5000 or 5"), ("10^3", "not a number"), ("500/510", "two numbers"),
     ("0", "from 1 up"), ("1.037", "a whole number"), ("5_00", "not a number")],
)  # fmt: skip
def test_sizes_that_may_be_two_numbers_are_refused(tmp_path: Path, cell: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read(tmp_path, f"source,target,acc,n_test\nen,de,71.5,{cell}\nen,tr,65.5,500\n")


def test_nested_scores_are_read_the_other_way_when_asked(tmp_path: Path) -> None:
    turned = {(t, s): v for (s, t), v in RIGHT.items()}
    text = json.dumps(NESTED)
    assert values(read(tmp_path, text, rows="target")) == turned
    assert "--rows target reads it the other way" in sc.notes(read(tmp_path, text))[0]
    codes = json.dumps({t: {"acc": v} for t, v in zip(SHORT, (81, 71, 65), strict=True)})
    with pytest.raises(ValueError, match="only one language"):  # acc is Achi too
        read(tmp_path, codes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (written("тестовый\\обучающий"), "add --rows source or --rows target"),
        ("lang,lang.1,acc\nen,de,71\nde,en,72\n", "no column source"),
        ("locale,acc\nde-DE,71\nen-US,72\npt-BR,73\nbr-FR,73\n", "no column source, target"),
    ],
)
def test_what_may_mean_two_things_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read(tmp_path, text)


def test_of_columns_without_heading_one_may_hold_pairs(tmp_path: Path) -> None:
    found = read(tmp_path, ",,acc\nen->de,en->fr,71\nen->tr,en->fi,72\n")
    assert set(values(found)) == {("eng", "deu"), ("eng", "tur")}


def test_a_second_table_of_latex_is_said_to_be_left_out(tmp_path: Path) -> None:
    rows = "".join(f"{line.replace(',', ' & ')} \\\\\n" for line in MATRIX.splitlines())
    one = f"\\begin{{tabular}}{{lccc}}\n{rows}\\end{{tabular}}\n"
    table = read(tmp_path, one + one.replace("81", "82"))
    assert values(table) == RIGHT and "read as a LaTeX table; 1 more left out" in sc.notes(table)


def test_a_number_of_shots_is_no_difference_from_one() -> None:
    for head in ("1-shot accuracy", "100-shot F1", "1-token accuracy"):
        assert not reading.lower_is_better(head)
    for head in ("1-acc", "1 - test accuracy", "100 − F1"):
        assert reading.lower_is_better(head) and not reading.is_score(head)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (listed("source,target,1-acc", "{},{}"), "'1-acc' is better when lower"),
        (listed("source,target,100 - F1", "{},{}"), "'100 - f1' is better when lower"),
        (MATRIX.replace("en,81", "en,0").replace("75,76", "75,0").replace("70.5,70", "70.5,0"),
         "leave these cells empty"),
        ("source,target,score,epoch\n" + "".join(f"en,{t},{k}.{i},{i}\n" for i in (1, 2)
                                                for k, t in enumerate(SHORT, 50)),
         "They differ in 'epoch' (1, 2): keep the rows of one"),
        (MATRIX.replace("tr,77.5", "ir,77.5"), "unknown language 'ir'"),
        (written(label="eng-{}").replace("eng-en", "eng-fr"), "names several languages, English"),
        (written("Model").replace("\nen", "\nBERT").replace("\nde", "\nXLM-R")
         .replace("\ntr", "\nmT5"), "names models in its rows"),
        (listed("", "{},{}").strip(), "has no heading, its first row is en, en, 81"),
        (NAMED.format("MSA", "Egyptian Arabic", "Turkish"), "'MSA' is Malay as a code, Arabic"),
        (NAMED.format("MSA", "EGY", "TUN"), "'MSA' is Malay as a code, Arabic"),
        (NAMED.format("Bété", "French", "Ewe"), "unknown language 'Bété'"),
        (f"{MATRIX}multilingual,70,70,70\n", "--drop-unknown` leaves such rows out"),
        (MATRIX.replace("en,81", "en,100").replace("76", "100").replace("70.5,70", "70.5,100"),
         "every score of a language on itself is 100"),
        (",en,de,tr\nen,.33,1,1\nde,.67,.33,.67\ntr,1,.67,.33\n".replace("33", f"{1 / 3:.7f}"[2:])
         .replace("67", f"{2 / 3:.7f}"[2:]), "are ranks"),
    ],
)  # fmt: skip
def test_what_was_read_or_refused_for_a_wrong_reason(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ValueError) as error:
        read(tmp_path, text)
    assert words in str(error.value)


def test_means_in_other_languages_are_left_out(tmp_path: Path) -> None:
    for word in ("Durchschnitt", "moyenne", "Promedio", "Média", "Średnia", "평균", "平均値", "σ"):
        table = read(tmp_path, f"{MATRIX}{word},77.8,72.4,67\n")
        assert values(table) == RIGHT and word in sc.notes(table)[1]
    more = read(tmp_path, f"{MATRIX}Media Lengua,50,51,52\n")  # a language, no mean
    assert "mue" in set(more["source"])


def test_what_a_model_answered_is_no_property_of_the_pair() -> None:
    codes = [f"{s} {t}".split() for s in SHORT for t in SHORT]
    table = sc.check(pd.DataFrame(codes, columns=["source", "target"]).assign(
        score=np.random.default_rng(0).uniform(size=9), prediction_similarity=np.linspace(0, 1, 9),
        output_distance=np.linspace(1, 0, 9)))  # fmt: skip
    _, used, unused = inputs.extras(table)
    assert used == [] and all("outcome of the same run" in why for why in unused)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_encodings(tmp_path: Path, encoding: str, ending: str) -> None:
    text = MATRIX.replace("tr", "Türkçe").replace("Türkçe", "tr", 1).replace("Türkçe", "tr")
    text = f"Tabelle 1: Übertragung{ending}" + text.replace("\n", ending)
    assert values(read(tmp_path, text.encode(encoding))) == RIGHT


def test_excel(tmp_path: Path) -> None:
    sheet = pd.read_csv(io.StringIO(MATRIX), index_col=0)
    with pd.ExcelWriter(tmp_path / "t.xlsx") as writer:
        pd.DataFrame([["About these scores"]]).to_excel(writer, sheet_name="About", index=False)
        sheet.to_excel(writer, sheet_name="XNLI", startrow=2)
        sheet.to_excel(writer, sheet_name="NER")
    table = sc.read(tmp_path / "t.xlsx")
    assert values(table) == RIGHT
    assert any("'XNLI'; other sheets left out: NER" in note for note in sc.notes(table))
    (tmp_path / "named.csv").write_bytes((tmp_path / "t.xlsx").read_bytes())
    assert values(sc.read(tmp_path / "named.csv")) == RIGHT
    (tmp_path / "cut.xlsx").write_bytes((tmp_path / "t.xlsx").read_bytes()[:2000])
    with pytest.raises(ValueError, match="Excel or zip file, but is damaged"):
        sc.read(tmp_path / "cut.xlsx")


def test_what_pandas_writes(tmp_path: Path) -> None:
    frame = pd.read_csv(io.StringIO(MATRIX), index_col=0)
    named = frame.rename_axis(index="source", columns="target")
    long = named.stack().rename("score").reset_index()
    for written in (named.to_csv(), named.T.to_csv(), long.to_csv(), long.to_json(),
                    long.to_json(orient="split"), long.to_json(orient="table")):  # fmt: skip
        assert values(read(tmp_path, written)) == RIGHT
    both = pd.concat({"xnli": named, "ner": named}, axis=1, names=["task"])
    table = read(tmp_path, both.to_csv())
    assert values(table[table["task"] == "ner"]) == values(table[table["task"] == "xnli"]) == RIGHT
    models = pd.concat({"mbert": frame, "xlmr": frame}, names=["model", "source"])
    assert set(read(tmp_path, models.to_csv())["model"]) == {"mbert", "xlmr"}
    frame.to_parquet(tmp_path / "m.parquet")
    assert values(sc.read(tmp_path / "m.parquet")) == RIGHT


def test_the_side_that_rows_are_is_said_first_and_may_be_given(tmp_path: Path) -> None:
    said = sc.notes(read(tmp_path, MATRIX))[0]
    assert said == ("t.csv read as a matrix, its rows being sources (it does not say: --rows "
                    "target reads it the other way)")  # fmt: skip
    turned = pd.read_csv(io.StringIO(MATRIX), index_col=0).T.to_csv()
    assert values(read(tmp_path, turned, rows="target")) == RIGHT
    corners = {"test/train": "target", "Source (rows) / Target (columns)": "source",
               "↓ eval → train": "target", "train →": "target", "tuned on": "source"}  # fmt: skip
    for corner, side in corners.items():
        table = turned if side == "target" else MATRIX
        assert values(read(tmp_path, corner + table[table.index(",en") :])) == RIGHT


def test_cells_of_any_kind_in_a_parquet_file(tmp_path: Path) -> None:
    rows = [(s, t, v) for (s, t), v in RIGHT.items()]
    odd = pd.DataFrame(rows, columns=["source", "target", "score"]).astype({"source": "category"})
    odd = odd.assign(tags=[[1], None, []] * 3, at=pd.Timestamp(0))
    odd["n_test"] = pd.array([5, None, 7] * 3, "Int64")
    odd.to_parquet(tmp_path / "t.parquet")
    table = sc.read(tmp_path / "t.parquet")
    assert values(table) == RIGHT and set(table["n_test"].dropna()) == {5, 7}
    assert set(reading.pairs(tmp_path / "t.parquet")["source"]) == {"eng", "deu", "tur"}
    for column, cells, cause in (
        ("score", [[0.5]] * 9, "'\\[0.5\\]', not a number"),
        ("score", odd["at"], "a date"),
        ("target", [["en"]] * 9, "unknown language"),
        ("source", [None] * 9, "is empty"),
    ):
        odd.assign(**{column: cells}).to_parquet(tmp_path / "t.parquet")
        with pytest.raises(ValueError, match=cause):
            sc.read(tmp_path / "t.parquet")
    whole = (tmp_path / "t.parquet").read_bytes()
    for at in range(0, len(whole), 97):
        flipped = bytes([whole[at] ^ 64])
        _no_other_exception(tmp_path / "t.parquet", whole[:at] + flipped + whole[at + 1 :])


def test_pairs_under_any_headings(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("iso1,group,code2,cos\nen,West,de,0.5\nen,East,tr,0.2\n")
    found = reading.pairs(tmp_path / "p.csv")
    assert found.set_index(["source", "target"])["cos"].to_dict() == {
        ("eng", "deu"): 0.5, ("eng", "tur"): 0.2}  # fmt: skip
    assert "'iso1' and 'code2' read as source and target" in found.attrs["notes"][0]


def test_two_values_of_a_pair_are_refused(tmp_path: Path) -> None:
    text = "source,target,cos\nen,de,0.5\nen,tr,0.2\neng,deu,0.5\n"
    (tmp_path / "p.csv").write_text(text)
    assert len(reading.pairs(tmp_path / "p.csv")) == 2
    (tmp_path / "p.csv").write_text(text.replace("eng,deu,0.5", "eng,deu,0.6"))
    with pytest.raises(ValueError, match="rows of eng and deu differ"):
        reading.pairs(tmp_path / "p.csv")


def test_sizes_of_pairs_with_commas(tmp_path: Path) -> None:
    """5,000 may be five; 1,234,567 beside it says that it is not."""
    text = "source;target;size;cos\nen;de;5,000;0,5\nen;tr;7,000;0,2\n"
    (tmp_path / "p.csv").write_text(text)
    found = reading.pairs(tmp_path / "p.csv")
    assert "size" not in found and list(found["cos"]) == [0.5, 0.2]
    assert any("may have thousands or decimals" in note for note in found.attrs["notes"])
    (tmp_path / "p.csv").write_text(text.replace("7,000", "1,234,567"))
    assert list(reading.pairs(tmp_path / "p.csv")["size"]) == [5000, 1234567]


def test_an_empty_code_in_a_table_of_pairs_is_no_language(tmp_path: Path) -> None:
    for empty in (None, np.nan, "", " "):
        frame = pd.DataFrame({"source": ["en", empty], "target": ["de", "en"], "x": [0.1, 0.2]})
        frame.to_parquet(tmp_path / "p.parquet")
        with pytest.raises(ValueError, match="p.parquet: source is empty in row 2"):
            reading.pairs(tmp_path / "p.parquet")


def test_a_cell_longer_than_a_reader_takes(tmp_path: Path) -> None:
    for cell in ("x" * 140_000, "<a" * 20_000, "1" + " " * 20_000 + "x", "a to" * 20_000):
        with pytest.raises(ValueError, match="t.csv|unknown language|not a number"):
            read(tmp_path, f"source,target,score\nen,de,0.5\n{cell},en,0.4\nde,en,{cell}\n")


@pytest.mark.parametrize(
    "text",
    [
        "Sourcee,tr\nmBERT,,,\n{0}XLM-{0RT,,,\n{0}XLM}",  # no row of a table
        "avg&score&&&\\\\&UD_German-GSD\n81,5&[&&&target&%\n\\\\&$^$&&|&avg",  # no cell of a matrix
    ],
)
def test_faults_that_were_found(tmp_path: Path, text: str) -> None:
    _no_other_exception(tmp_path / "t.csv", text.encode())


def test_own_names_are_read_with_a_note(tmp_path: Path) -> None:
    table = read(tmp_path, MATRIX.replace("de", "Deutsch").replace("tr", "Türkçe"))
    assert values(table) == RIGHT
    assert any("'Deutsch' as German (deu), 'Türkçe' as Turkish (tur)" in n for n in sc.notes(table))


def test_more_labels_than_kinds(tmp_path: Path) -> None:
    text = ",,,,en,de\na,b,c,en,.5,.6\na,b,d,de,.7,.8\n"
    assert len(read(tmp_path, text)) == 4


def test_pair_columns_by_their_heading(tmp_path: Path) -> None:
    rows = pd.DataFrame([(s, t, v) for (s, t), v in RIGHT.items()], columns=["s", "t", "score"])
    for heading, first, second, sep in (
        ("lang_pair", "s", "t", "-"), ("tgt-src", "t", "s", "-"), ("Language Pair", "s", "t", "/"),
        ("setting", "s", "t", " → "),
    ):  # fmt: skip
        table = pd.DataFrame({heading: rows[first] + sep + rows[second], "score": rows["score"]})
        assert values(read(tmp_path, table.to_csv(index=False))) == RIGHT
    with pytest.raises(ValueError, match="'eng-qqq-de' is not two languages"):
        read(tmp_path, "pair,score\neng-qqq-de,0.5\nde-en,0.4\n")


def test_metrics_tasks_and_runs_beside_the_scores(tmp_path: Path) -> None:
    wide = "model,seed,source,en,de\nm,1,en,.9,.5\nm,2,en,.8,.4\nm,1,de,.5,.9\nm,2,de,.5,.8\n"
    assert sorted(read(tmp_path, wide)["seed"].unique()) == [1, 2]
    runs = read(tmp_path, wide.replace(",1,", ",run-1,").replace(",2,", ",run-2,"))
    assert sorted(runs["seed"].unique()) == [1, 2]
    text = "train_lang,test_lang,f1,accuracy,note\nen,de,0.3,0.5,a\nde,en,0.2,0.4,b\n"
    assert list(read(tmp_path, text)["score"]) == [0.4, 0.5]
    chosen = read(tmp_path, text, metric="f1")
    assert list(chosen["score"]) == [0.2, 0.3] and set(chosen["metric"]) == {"f1"}
    with pytest.raises(ValueError, match="unknown metric 'bleu'.*accuracy"):
        read(tmp_path, text, metric="bleu")
    long = (
        "source,target,metric,value\nen,de,acc,0.5\nde,en,acc,0.4\nen,de,loss,2.5\nde,en,loss,3\n"
    )
    table = read(tmp_path, long)
    assert list(table["score"]) == [0.4, 0.5] and any("'loss'" in n or "loss is" in n
                                                      for n in sc.notes(table))  # fmt: skip


def test_losses_become_scores_when_asked(tmp_path: Path) -> None:
    rows = "source,target,{}\nen,de,{}\nen,tr,{}\nde,en,{}\nde,tr,{}\n"
    for name, given_, right in (
        ("eval_loss", (1, 2, 0.5, 3), np.exp([-0.5, -3, -1, -2])),
        ("perplexity", (4, 200, 2, 8), [1 / 2, 1 / 8, 1 / 4, 1 / 200]),
        ("WER", (20, 40, 10, 90), [0.9, 0.1, 0.8, 0.6]),
        ("error rate", (0.2, 0.4, 0.1, 0.9), [0.9, 0.1, 0.8, 0.6]),
    ):
        text = rows.format(name, *given_)
        with pytest.raises(ValueError, match="better when lower"):
            read(tmp_path, text)
        assert list(read(tmp_path, text, lower_is_better=True)["score"]) == pytest.approx(right)
    small = ",en,de,tr\nen,,7.1,6.5\nde,5.5,,6.7\ntr,7.5,7.5,\n"
    assert read(tmp_path, small, lower_is_better=False)["score"].max() == pytest.approx(0.075)


@pytest.mark.parametrize("method", ["average", "min", "max", "dense", "first"])
@pytest.mark.parametrize("axis", [0, 1])
def test_ranks_are_no_scores(tmp_path: Path, method: str, axis: int) -> None:
    codes = "en de fr ru tr hi".split()
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.integers(1, 9, (6, 6)), codes, codes).rank(axis, method)
    for ranks in (frame, frame - frame.min().min(), frame.mask(np.eye(6) > 0).rank(axis, method)):
        with pytest.raises(ValueError, match="are ranks"):
            read(tmp_path, ranks.to_csv())


def test_a_word_that_is_a_code_is_a_language_where_its_numbers_are_no_summary(
    tmp_path: Path,
) -> None:
    frame = pd.DataFrame(np.linspace(0.2, 0.9, 16).reshape(4, 4), *(["en", "de", "tr", "fr"],) * 2)
    for word, column in (("min", frame.min(axis=1)), ("avg", frame.mean(axis=1)),
                         ("std", frame.std(axis=1)), ("Average", frame.mean(axis=1))):  # fmt: skip
        table = read(tmp_path, frame.assign(**{word: column.round(3)}).to_csv())
        assert len(table) == 16 and any(repr(word) in note for note in sc.notes(table))
    real = read(tmp_path, frame.assign(min=[0.31, 0.77, 0.5, 0.66]).to_csv())
    assert len(real) == 20 and "min" in set(real["target"])


def test_minangkabau_is_kept_in_a_table_of_pairs_and_a_mean_is_not(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("source,target,likeness\neng,min,.2\nmin,swe,.3\navg,swe,.4\neng,swe,.5\n")
    assert reading.pairs(path)["likeness"].tolist() == [0.2, 0.3, 0.5]
    path.write_text(",eng,swe,min\neng,1,.5,.5\nswe,.5,1,.5\n")
    assert set(reading.pairs(path)["target"]) == {"eng", "swe"}


LATEX = r"""\begin{table}\centering
\begin{tabular}{@{}ll|ccc@{}} \toprule
Model & Src. & en & de & tr \\ \cmidrule(lr){3-5}
\multirow{3}{*}{mBERT} & en & \textbf{81.0}$_{\pm 0.4}$ & 71.5 & \cellcolor{red!10}65.5 \\
 & de & 75.0 & 76.0 & 67.0 \\ \rowcolor{gray!20}
 & tr & 77.5 & \textcolor{red}{70.5} & 70.0 \\ \midrule
\multirow{3}{*}{XLM-R} & en & 81.0 & 71.5 & 65.5 \\ & de & 75.0 & 76.0 & 67.0 \\
 & tr & 77.5 & 70.5 & 70.0 \\ \bottomrule
\end{tabular}\caption{Results}\end{table}"""
TWO_MODELS = {
    "LaTeX with merged cells and colours": LATEX,
    "rows that head sections": "Source,en,de,tr\nmBERT,,,\n{0}XLM-R,,,\n{0}",
    "exported runs": "Name,lr,State,train_lang,model,test/f1.en,test/f1.de,test/f1.tr,test_avg_f1,"
    "test/loss.en,test/loss.de,test/loss.tr\n{1}",
    "the Trainer's keys": "model_name_or_path,train_lang,predict_accuracy_en,predict_accuracy_de,"
    "predict_accuracy_tr,predict_runtime_en,predict_runtime_de,predict_runtime_tr\n{2}",
    "merged cells of a sheet": "Model,Train,en,de,tr\nmBERT,{3}XLM-R,{3}",
}


@pytest.mark.parametrize("form", TWO_MODELS)
def test_two_models_in_one_table(tmp_path: Path, form: str) -> None:
    body = MATRIX.partition("\n")[2]
    lines, models = body.splitlines(), ("mBERT", "XLM-R")
    runs = [f"r,1e-5,ok,{x.partition(',')[0]},{m},{x.partition(',')[2]},70,.4,.5,.6"
            for m in models for x in lines]  # fmt: skip
    keys = [f"{m},{x},120,130,140" for m in models for x in lines]
    sheet = body.replace("\nd", "\n,d").replace("\nt", "\n,t")
    text = TWO_MODELS[form]
    if text is not LATEX:
        text = text.format(body, "\n".join(runs), "\n".join(keys), sheet)
    table = read(tmp_path, text)
    assert set(table["model"]) == {"mBERT", "XLM-R"}
    for _, one in table.groupby("model"):
        assert values(one) == RIGHT


def test_runs_in_columns_and_words_before_the_heading(tmp_path: Path) -> None:
    runs = "source,target,seed1,seed2\nen,de,.8,.7\nde,en,.5,.6\n"
    table = read(tmp_path, runs)
    assert list(table["seed"]) == [1, 2, 1, 2] and list(table["score"]) == [0.5, 0.6, 0.8, 0.7]
    means = read(tmp_path, "source,target,mean,std\nen,de,.8,.01\nde,en,.5,.02\n")
    assert list(means["score"]) == [0.5, 0.8]
    assert values(read(tmp_path, "# XNLI, mBERT\n" + MATRIX)) == RIGHT
    pairs = read(tmp_path, "direction,chrf\nen2de,50\nde2en,60\n")
    assert values(pairs) == {("deu", "eng"): 0.6, ("eng", "deu"): 0.5}
    with pytest.raises(ValueError, match="no heading, its first row is en, de, 81"):
        read(tmp_path, "en,de,81\nen,tr,71\nde,en,70\n")
    rows = "model,source,target,score\na,en,de,{}\na,de,en,.7\nb,en,de,81\nb,de,en,71\n"
    with pytest.raises(ValueError, match="seem mixed"):
        read(tmp_path, rows.format(0.8))


def test_what_changes_nothing(tmp_path: Path) -> None:
    """Names of the codes, order of rows and columns, the unit, splitting over seeds."""
    frame = pd.read_csv(io.StringIO(MATRIX), index_col=0)
    for names in ("eng deu tur", "en-US de-DE tr-TR", "eng_Latn deu_Latn tur_Latn",
                  "English German Turkish", "EN DE TR"):  # fmt: skip
        renamed = frame.set_axis(names.split()).set_axis(names.split(), axis=1)
        assert values(read(tmp_path, renamed.to_csv())) == RIGHT
    assert (
        values(read(tmp_path, frame.loc[["tr", "en", "de"], ["de", "tr", "en"]].to_csv())) == RIGHT
    )
    assert values(read(tmp_path, (frame / 100).to_csv())) == RIGHT
    seeds = pd.concat({1: frame - 1, 2: frame + 1}, names=["seed", "source"])
    means = sc.cells(read(tmp_path, seeds.to_csv()))
    assert means.set_index(["source", "target"])["score"].to_dict() == pytest.approx(RIGHT)


# -- outcomes as explanations ---------------------------------------------------------------------


def _with_outcomes() -> pd.DataFrame:
    """A table with what published tables carry beside the score, the score's children included."""
    codes = "eng deu fra rus tur hin swh cmn arb fin".split()
    rng = np.random.default_rng(3)
    rows = pd.DataFrame([(s, t) for s in codes for t in codes], columns=["source", "target"])
    level = {c: rng.normal(0.6, 0.1) for c in codes}
    score = rows["target"].map(level) + rng.normal(0, 0.05, len(rows))
    score = score.mask(rows["source"] == rows["target"], 0.9 + rng.normal(0, 0.02, len(rows)))
    home = dict(zip(rows["source"], score.where(rows["source"] == rows["target"]), strict=False))
    own = score[(rows["source"] == rows["target"]).to_numpy()].to_numpy()
    home = dict(zip(codes, own, strict=True))
    at_source, at_target = rows["source"].map(home), rows["target"].map(home)
    loss = 1 - score + rng.normal(0, 0.004, len(rows))
    size = {c: float(i * 1000 + 1) for i, c in enumerate(codes)}
    return rows.assign(
        score=score, **{
            "eval_loss": loss, "transfer_gap": at_source - score, "x1": at_source - score,
            "x2": score / at_source, "x3": at_target - score, "x4": loss,
            "score_std": rng.random(len(rows)), "runtime": rng.random(len(rows)),
            "rank": score.groupby(rows["target"]).rank(), "mystery": rng.random(len(rows)),
            "mean_of_source": score.groupby(rows["source"]).transform("mean"),
            "train size": rows["source"].map(size), "token_overlap": rng.random(len(rows)),
            "syntactic distance": rng.random(len(rows)),
        },
    )  # fmt: skip


def test_outcomes_of_the_run_are_no_properties_of_the_pair() -> None:
    table = sc.check(_with_outcomes())
    _, used, unused = inputs.extras(table)
    assert used == ["pair_train_size", "pair_token_overlap", "pair_syntactic_distance"]
    said = " ".join(unused)
    for name in ("eval_loss", "transfer_gap", "x1", "x2", "x3", "x4", "score_std", "runtime",
                 "rank", "mystery", "mean_of_source"):  # fmt: skip
        assert f"column {name!r} not used" in said
    assert "--features mystery" in said and "--features x1" not in said
    _, used, _ = inputs.extras(table, ["mystery"])
    assert "pair_mystery" in used
    with pytest.raises(ValueError, match="unknown feature 'mysteri'.*'mystery'"):
        inputs.extras(table, ["mysteri"])


def test_scores_in_language_and_means_with_them_are_no_properties_of_a_source() -> None:
    table = sc.check(_with_outcomes())
    whole = table[(table["n_target"] == 0)].groupby("source")["score"].mean()
    home = sc.in_language(table).groupby("source")["score"].mean()
    assert len(home) >= 4
    sizes = dict(zip(home.index, np.random.default_rng(0).permutation(len(home)), strict=True))
    more = table.assign(
        in_lang=table["source"].map(home),
        of_all=table["source"].map(whole),
        own_of_target=table["target"].map(home),
        gb=table["source"].map(sizes),
    )
    kept = [c for c in more if c in {*sc.CELL, "seed", "score", "n_test", *list(more)[-4:]}]
    _, used, unused = inputs.extras(more[kept])
    assert used == ["pair_gb"] and len(unused) == 3


def test_outcomes_in_a_table_of_pairs_are_left_out_too() -> None:
    whole = _with_outcomes()
    own = whole[["source", "target", "x1", "token_overlap", "eval_loss"]]
    kept, unused = inputs.own_measures(sc.check(whole[["source", "target", "score"]]), own)
    assert list(kept) == ["source", "target", "token_overlap"] and len(unused) == 2


# -- written tables come back, and nothing else breaks --------------------------------------------

_CODES = st.lists(
    st.sampled_from("en de fr ru tr hi sw zh fi eu ja th id is se las nan".split()),
    min_size=3, max_size=6, unique=True,
)  # fmt: skip
_MANY = settings(
    max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


@st.composite
def matrices(draw: st.DrawFn) -> pd.DataFrame:
    codes = draw(_CODES)
    numbers = st.integers(min_value=150, max_value=999).map(lambda n: n / 10)
    rows = draw(st.lists(st.lists(numbers, min_size=len(codes), max_size=len(codes)),
                         min_size=len(codes), max_size=len(codes)))  # fmt: skip
    return pd.DataFrame(rows, index=codes, columns=codes)


def _long(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.rename_axis(index="source", columns="target").stack().rename("score").reset_index()


FORMS = {
    "comma": lambda f: f.to_csv(),
    "tab": lambda f: f.to_csv(sep="\t"),
    "german": lambda f: f.to_csv(sep=";", decimal=","),
    "utf-16": lambda f: f.to_csv(sep="\t").encode("utf-16"),
    "plus minus": lambda f: f.map("{:.1f} ± 0.4".format).to_csv(),
    "bold": lambda f: f.map("**{:.1f}**".format).to_csv(),
    "per cent": lambda f: f.map("{:.1f} %".format).to_csv(),
    "markdown": lambda f: f.rename_axis("source").to_markdown(),
    "latex": lambda f: "\\begin{tabular}{l" + "r" * len(f) + "}\n" + "\\\\\n".join(
        " & ".join(map(str, row)) for row in [["", *f], *f.reset_index().to_numpy().tolist()]
    ) + "\\\\\n\\end{tabular}",
    "turned": lambda f: f.T.rename_axis("target \\ source").to_csv(),
    "printed": lambda f: f.to_string(),
    "records": lambda f: _long(f).to_json(orient="records"),
    "lines": lambda f: _long(f).to_json(orient="records", lines=True),
    "nested": lambda f: json.dumps(f.T.to_dict()),
    "pairs": lambda f: _long(f).assign(pair=lambda t: t["source"] + "->" + t["target"])[
        ["pair", "score"]].to_csv(index=False),
    "title": lambda f: "Table 1. All scores\n\n" + f.to_csv() + "\nOne seed\n",
    "two headings": lambda f: pd.concat({"xnli": f}, axis=1).to_csv(),
    "mean": lambda f: f.assign(avg=f.mean(axis=1).round(1)).to_csv(),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_table_written_in_any_form_comes_back_equal(tmp_path: Path, form: str) -> None:
    @settings(_MANY, max_examples=12)
    @given(matrices())
    def holds(frame: pd.DataFrame) -> None:
        right = {(language(r.source).key, language(r.target).key): round(r.score / 100, 9)
                 for r in _long(frame).itertuples()}  # fmt: skip
        try:
            found = values(read(tmp_path, FORMS[form](frame)))
        except ValueError as error:  # a matrix whose diagonal is lowest by chance
            assume("lower is better" not in str(error))
            raise
        assert found == pytest.approx(right)

    holds()


@_MANY
@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda t: t.encode("utf-8", "ignore")))
def test_any_bytes_are_read_or_refused_in_words(tmp_path_factory, data: bytes) -> None:
    _no_other_exception(tmp_path_factory.getbasetemp() / "any.csv", data)


_CELL = st.sampled_from(
    ["", "en", "de", "tr", "source", "target", "score", "0.5", "81,5", "—", "avg", "±", "1e999",
     "→", "{", "[", "\\\\", "&", "|", "'", '"', "nan", "UD_German-GSD", "en->de", "-1", "%", "\0"]
) | st.text(max_size=4)  # fmt: skip


@_MANY
@given(st.lists(st.lists(_CELL, max_size=5), max_size=6), st.sampled_from(",;\t|& "))
def test_any_cells_are_read_or_refused_in_words(tmp_path_factory, rows, sep: str) -> None:
    text = "\n".join(sep.join(row) for row in rows)
    _no_other_exception(
        tmp_path_factory.getbasetemp() / "cells.csv", text.encode("utf-8", "ignore")
    )


def _no_other_exception(path: Path, data: bytes) -> None:
    """Read as scores and as pairs, or a ValueError with a cure; every language is registered."""
    path.write_bytes(data)
    for how in (sc.read, reading.pairs):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                table = how(path)
            except ValueError as error:
                assert str(error)
                continue
        for code in {*table["source"], *table["target"]}:
            assert language(code).key == code and language(code).name


@pytest.mark.parametrize("cell", ["7.15*10^-1", "7*10^3", "7.15 * 10^{-1}", "2^-1", "81^.5"])
def test_powers_are_no_raised_marks(tmp_path: Path, cell: str) -> None:
    with pytest.raises(ValueError, match="not a number"):
        read(tmp_path, f"source,target,score\nen,de,{cell}\nde,en,60\n")


@pytest.mark.parametrize("cell", ["81.4^1", "81.4^{1}", "81.4^*", "81.4^a"])
def test_raised_marks_are_left_out(tmp_path: Path, cell: str) -> None:
    found = read(tmp_path, f"source,target,score\nen,de,{cell}\nde,en,60\n")
    assert sorted(found["score"]) == pytest.approx([0.6, 0.814])


@pytest.mark.parametrize("labels", [["ner-de", "pos-fr"], ["mono-de", "new-en", "old-fr"]])
def test_words_beside_a_code_are_no_pairs(tmp_path: Path, labels: list[str]) -> None:
    rows = "".join(f"{label},0.{i}5\n" for i, label in enumerate(labels))
    with pytest.raises(ValueError, match="no column source, target"):
        read(tmp_path, f"name,acc\n{rows}")


@pytest.mark.parametrize(
    "words",
    ["w/o {}", "without {}", "minus_{}", "excl. {}", "leave-{}-out", "heldout_{}", "shuffled-{}",
     "romanized {}", "code-mixed {}", "{}-translit", "{} script", "¬{}"],
)  # fmt: skip
def test_a_word_that_changes_what_a_label_means_is_not_cut_off(tmp_path: Path, words: str) -> None:
    rows = "".join(f"{words.format(c)},80,7{i},7{i + 1}\n" for i, c in enumerate(SHORT))
    with pytest.raises(ValueError):
        read(tmp_path, f",{','.join(SHORT)}\n{rows}")


def test_scripts_in_small_letters_are_no_treebanks(tmp_path: Path) -> None:
    rows = "srp_cyrl,srp_latn,.8\nsrp_latn,srp_cyrl,.7\nzho_hans,srp_latn,.6\n"
    found = read(tmp_path, f"source,target,f1\n{rows}")
    assert "source_set" not in found and (found["source"] != found["target"]).all()


def test_measures_named_after_models_are_measures_of_pairs(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("source,target,mbert_cosine,xlmr_cosine\nen,de,.1,.2\nde,en,.3,.4\n")
    found = reading.pairs(path)
    assert found[["mbert_cosine", "xlmr_cosine"]].to_numpy().tolist() == [[0.1, 0.2], [0.3, 0.4]]


@pytest.mark.parametrize("heads", ["0,10", "2019,2020", "mbert_tokens,xlmr_tokens"])
def test_numbers_and_properties_in_columns_are_no_runs(tmp_path: Path, heads: str) -> None:
    rows = "".join(
        f"{a},{b},71,8{i}\n" for i, (a, b) in enumerate(itertools.permutations(SHORT, 2))
    )
    with pytest.raises(ValueError):
        read(tmp_path, f"src,tgt,{heads}\n{rows}")


def test_scores_of_one_in_language_are_scores_where_the_metric_is_named(tmp_path: Path) -> None:
    codes = ("en", "de", "fr")
    cells = [(s, t, 1 if s == t else 0.5 + i / 20) for i, s in enumerate(codes) for t in codes]
    rows = "".join(f"{s},{t},{x}\n" for s, t, x in cells)
    assert len(read(tmp_path, f"source,target,accuracy\n{rows}")) == 9
    with pytest.raises(ValueError, match="on itself is 1"):
        read(tmp_path, f"source,target,value\n{rows}")


@pytest.mark.parametrize("cell", [r"$2.0*10^{-3}$", r"$7 \times 10^{3}$", r"$7\cdot10^{1}$"])
def test_powers_in_latex_are_no_raised_marks(tmp_path: Path, cell: str) -> None:
    rows = rf"source & target & acc \\ en & de & {cell} \\ de & en & 60.1 \\"
    with pytest.raises(ValueError, match="not a number"):
        read(tmp_path, rf"\begin{{tabular}}{{lll}} {rows} \end{{tabular}}", "t.tex")


@pytest.mark.parametrize("cell", [r"$81.4^{1}$", r"$81.4^\dagger$", r"$81.4^{\dagger\ddagger}$"])
def test_raised_marks_in_latex_are_left_out(tmp_path: Path, cell: str) -> None:
    rows = rf"source & target & acc \\ en & de & {cell} \\ de & en & 60.1 \\"
    found = read(tmp_path, rf"\begin{{tabular}}{{lll}} {rows} \end{{tabular}}", "t.tex")
    assert sorted(found["score"]) == pytest.approx([0.601, 0.814])

"""What no package knows: which member a macrolanguage means, and whose data speak for whom."""

from __future__ import annotations

# A corpus labelled with a macrolanguage is nearly always in one of its members. The member is
# CLDR's (`languageAlias`) except where FLORES-200 has another (fuv, pbt, quy, taq), where another
# has more speakers and text (aii, crk, mww), and where CLDR names none (nob, srp).
MACROLANGUAGES: dict[str, str] = {
    "ara": "arb", "aym": "ayr", "aze": "azj", "bal": "bcc", "bik": "bcl",
    "bua": "bxr", "chm": "mhr", "cre": "crk", "del": "umu", "den": "xsl", "din": "dik",
    "doi": "dgo", "est": "ekk", "fas": "pes", "ful": "fuv", "gon": "gno", "grb": "gbo",
    "grn": "gug", "hai": "hdn", "hbs": "srp", "hmn": "mww", "iku": "ike", "ipk": "esk",
    "kau": "knc", "kok": "gom", "kom": "kpv", "kon": "kng", "kpe": "xpe", "kur": "kmr",
    "lah": "pnb", "lav": "lvs", "man": "mnk", "mlg": "plt", "mon": "khk", "msa": "zsm",
    "nep": "npi", "nor": "nob", "oji": "ojg", "ori": "ory", "orm": "gaz", "pus": "pbt",
    "que": "quy", "rom": "rmy", "sqi": "als", "srd": "src", "swa": "swh", "syr": "aii",
    "tmh": "taq", "uzb": "uzn", "yid": "ydd", "zap": "zai", "zha": "zyb", "zho": "cmn",
    "zza": "diq",
}  # fmt: skip

# Codes that FLORES-200 and SIB-200 tell apart from the language that would stand for them: ajp
# (South Levantine Arabic, retired into apc in 2023) and aka (Akan, the macrolanguage of twi).
# They are languages of their own; where lang2vec is silent on them, the other's row speaks.
DISTINGUISHED = {"ajp": "apc", "aka": "twi"}

# Members of a macrolanguage that are one language with it in grammar books (Serbo-Croatian) or
# that lang2vec left empty (Nynorsk).
SPEAKS_FOR = {member: macro for macro, member in MACROLANGUAGES.items()} | {
    "bos": "hbs", "cnr": "hbs", "hrv": "hbs", "nno": "nor", "twi": "aka", **DISTINGUISHED,
}  # fmt: skip

# Codes that Wikimedia uses for another language than ISO 639-3 does
# (https://meta.wikimedia.org/wiki/Special_language_codes): there Alemannic and Norman.
WIKIMEDIA = {"als": "gsw", "nrm": "nrf"}

# Words for summaries of rows or columns. Some are codes too: ave, all, max, min, std, sum, var.
SUMMARIES = frozenset(
    "all any ave average averaged averages avg best count delta dev deviation durchschnitt f f1 "
    "gap gemiddelde gesamt gmean hmean keskiarvo macro macroavg max maximum mean means med media "
    "median micro min minimum mittelwert moyenne ortalama overall promedio range score sd sem shot "
    "stddev std stdev sum total totals var variance weighted worst zero zeroshot ø μ δ "
    "среднее 平均 平均值 平均値 合計 合计 평균 média promedio średnia medel gennemsnitt průměr "
    "المتوسط σ".split()
)

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

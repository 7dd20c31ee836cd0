"""What no package knows: members for macrolanguages, old codes, everyday names, scripts."""

from __future__ import annotations

# A corpus labelled with a macrolanguage is nearly always in one of its members. The member is
# CLDR's (`languageAlias`) except where FLORES-200 has another (fuv, pbt, quy, taq), where another
# has more speakers and text (aii, crk, mww), and where CLDR names none (nob, srp).
MACROLANGUAGES: dict[str, str] = {
    "aka": "twi", "ara": "arb", "aym": "ayr", "aze": "azj", "bal": "bcc", "bik": "bcl",
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

# Withdrawn two-letter codes that old corpora still carry (mC4 says `iw`); `sh` is Serbo-Croatian.
WITHDRAWN = {"iw": "heb", "in": "ind", "ji": "yid", "jw": "jav", "mo": "ron"}
# Everyday names that neither ISO 639-3 nor CLDR lists.
EVERYDAY_NAMES = {"farsi": "pes", "mandarin": "cmn", "taiwanese": "nan", "flemish": "nld"}
# Scripts that contain another one: Japanese writes Han characters too.
SCRIPT_PARTS = {
    "Hans": {"Hani"}, "Hant": {"Hani"}, "Jpan": {"Hani", "Hira", "Kana"}, "Kore": {"Hang"},
}  # fmt: skip
RIGHT_TO_LEFT = frozenset(
    "Adlm Arab Aran Armi Hebr Mand Mani Mend Narb Nkoo Rohg Samr Sarb Syrc Thaa Yezi".split()
)
# Members of a macrolanguage that are one language with it in grammar books (Serbo-Croatian) or
# that lang2vec left empty (Nynorsk).
SPEAKS_FOR = {member: macro for macro, member in MACROLANGUAGES.items()} | {
    "bos": "hbs", "cnr": "hbs", "hrv": "hbs", "nno": "nor",
}  # fmt: skip
# Glottolog's shelves for languages without a tree: sharing one is no kinship.
NO_FAMILY = {
    "Artificial Language", "Bookkeeping", "Mixed Language", "Pidgin", "Sign Language",
    "Speech Register", "Unattested", "Unclassifiable",
}  # fmt: skip
# Scripts that show no spaces between words (Unicode's UAX #29, section 4, and UAX #14, classes SA
# and ID); Tibetan marks syllables instead.
UNSPACED = frozenset(
    "Hani Hans Hant Jpan Hira Kana Hrkt Bopo Thai Laoo Khmr Mymr Lana Tale Talu Tavt Tibt".split()
)

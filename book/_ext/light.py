"""Sphinx extension: pages that are there soon on a slow line, and figures that follow the theme.

When the pages are built, their ten style sheets become one that holds only rules which a page of
this book can use, and the icon fonts become the few icons that occur in it. Scripts wait until a
page is shown, figures below the first until somebody scrolls to them. Of code only those words are
elements that have a colour of their own: names and brackets are most of a long page otherwise.

A figure is drawn once, on white. What is drawn in black, grey and white becomes a variable of its
own style sheet, which follows the theme of the page around it; colours that carry data stay. Where
a browser cannot tell a picture the theme, the figure stays readable on its own background.
"""

from __future__ import annotations

import base64
import hashlib
import io
import logging
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont
from slim import slim
from sphinx.application import Sphinx

logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells of every table

STYLE = re.compile(r'\s*<link (?:rel="stylesheet" type="text/css" )?href="([^"?]+\.css)[^>]*/>')
ICONS = re.compile(r'\s*<script src="[^"]*scripts/fontawesome\.js[^"]*"></script>')
PRELOAD = re.compile(r'\s*<link rel="preload" as="script"[^>]*/>')
SCRIPTS = re.compile(r'<script ((?:data-[\w-]+="[^"]*" )?src=")')
OPTIONS = re.compile(r'<script [^>]*src="[^"]*documentation_options\.js[^"]*"></script>')
LISTING = re.compile(r'<div class="highlight"><pre.*?</pre>', re.S)
UNCOLOURED = re.compile(r'<span class="(?:n|nn|p|w)">([^<]*)</span>')  # as the text around them
SOLUTION = re.compile(r"(Solution to)(<a [^>]*>) ")  # the blank belongs before the link
SIDEBAR = '<div id="pst-primary-sidebar" role="navigation" aria-label="Book"'
SWITCH = '\n<button type="button" class="code-switch pst-js-only">Show all code</button>'
STRING = r"""(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')"""
READABLE = 8  # pixels of the smallest letters of a figure on a phone
NEAR = 5_000  # characters of a page below its title that a reader sees first
NESTED = ("@media", "@supports", "@layer", "@container")

# On white, and on the page in the dark (#121212): words keep a contrast of 4.5 to 1 or more.
DARK = {
    "#ffffff": "#121212",
    "#222222": "#e6e6e6",
    "#333333": "#d9d9d9",
    "#444444": "#bdbdbd",
    "#555555": "#b5b5b5",
    "#666666": "#a3a3a3",
    "#767676": "#9b9b9b",
    "#999999": "#7a7a7a",
    "#dddddd": "#383838",
}
CLOUD = "0.35"  # opacity of a cloud's marks, which nobody would see in the dark
ON_COLOUR = re.compile(r'(<g id="text_\d+">\s*(?:<!--.*?-->\s*)?<g style="fill: )#ffffff(?=")')
GREY = re.compile(r"\b(fill|stroke): (#[0-9a-f]{6})\b")


def rules(css: str) -> Iterator[tuple[str, str | None]]:
    """Yield (what stands before the brace, what stands in it) of each rule; None: no braces."""
    css = re.sub(rf"({STRING})|/\*.*?\*/", r"\1", css, flags=re.S)
    depth, start, head = 0, 0, ""
    for found in re.finditer(rf"{STRING}|url\((?!['\"])[^)]*\)|[{{}};]", css):
        mark, at = found[0], found.start()
        if mark == "{":
            if depth == 0:
                head, start = css[start:at].strip(), at + 1
            depth += 1
        elif mark == "}":
            depth -= 1
            if depth == 0:
                yield head, css[start:at].strip()
                start = at + 1
        elif mark == ";" and depth == 0:
            yield css[start:at].strip(), None
            start = at + 1


def selectors(head: str) -> list[str]:
    """Split a list of selectors at the commas outside of brackets."""
    found, depth, start = [], 0, 0
    for i, char in enumerate(head):
        depth += (char in "([") - (char in ")]")
        if char == "," and depth == 0:
            found.append(head[start:i].strip())
            start = i + 1
    return [*found, head[start:].strip()]


def can_match(selector: str, names: set[str]) -> bool:
    """Whether every class and id that a selector asks for occurs; what is in brackets may not."""
    bare = re.sub(r"\[[^\]]*\]", "", selector)
    while bare != (bare := re.sub(r"\([^()]*\)", "", bare)):
        pass
    return "\\" in bare or all(n in names for n in re.findall(r"[.#](-?[A-Za-z_][\w-]*)", bare))


def used(css: str, names: set[str]) -> str:
    """Return the rules of a style sheet that can match something."""
    kept = []
    for head, block in rules(css):
        if block is None:
            continue  # @charset; imports are followed before
        if head.startswith(NESTED):
            block = used(block, names)
        elif not head.startswith("@"):
            head = ",".join(s for s in selectors(head) if can_match(s, names))
        if head and block:
            kept.append(head + "{" + re.sub(r"\s+", " ", block) + "}")
    return "\n".join(kept)


def without_unread_variables(css: str, elsewhere: str) -> str:
    """Leave out definitions of custom properties that nothing reads."""
    read = set(re.findall(r"var\(\s*(--[\w-]+)", css)) | set(re.findall(r"--[\w-]+", elsewhere))
    return re.sub(
        r"(?<=[{;])\s*(--[\w-]+)\s*:(?:\"[^\"]*\"|[^;}\"])*(?:;|(?=\}))",
        lambda found: found[0] if found[1] in read else "",
        css,
    )


def sheet(path: Path, static: Path) -> str:
    """Return a style sheet with what it imports, its addresses as from `static`."""
    css = path.read_text("utf-8")
    css = re.sub(
        r'@import\s+"([^"]+)";', lambda m: sheet((path.parent / m[1]).resolve(), static), css
    )

    def moved(found: re.Match[str]) -> str:
        file = (path.parent / found[1]).resolve()
        return f"url({file.relative_to(static).as_posix()})" if file.exists() else found[0]

    return re.sub(r"""url\((?!["']?data:)["']?([^)"']+)["']?\)""", moved, css)


def with_icons(css: str, static: Path) -> str:
    """Put the icons that are used into the style sheet, instead of fonts with two thousand."""
    codes = {int(code, 16) for code in re.findall(r"""["']\\([0-9a-f]{4,5})["']""", css)}
    codes |= {ord(char) for char in re.findall("[\ue000-\uf8ff]", css)}

    def face(found: re.Match[str]) -> str:
        file = re.search(r"url\(([^)]*webfonts/[^)]*\.ttf)\)", found[0])
        if file is None:
            return found[0]
        font = TTFont(static / file[1])
        own = codes & set(font.getBestCmap())
        if not own:
            return ""
        maker = subset.Subsetter(subset.Options(layout_features=[], notdef_outline=True))
        maker.populate(unicodes=own)
        maker.subset(font)
        font.flavor = "woff"
        font["head"].modified = font["head"].created  # the same bytes every time
        font.recalcTimestamp = False
        buffer = io.BytesIO()
        font.save(buffer)
        data = base64.b64encode(buffer.getvalue()).decode()
        return re.sub(
            r"src:[^;}]+", f'src:url(data:font/woff;base64,{data}) format("woff")', found[0]
        )

    return re.sub(r"@font-face\s*\{[^}]*\}", face, css)


def words_of(script: Path, pages: list[str]) -> str:
    """What a script may name; Bootstrap's only of those of its parts that a page switches on."""
    text = script.read_text("utf-8", errors="replace")
    if script.name != "bootstrap.js":
        return text
    parts = {part for page in pages for part in re.findall(r'data-bs-toggle="(\w+)"', page)}
    of_parts = rf"(?:bs-)?(?:{'|'.join(sorted(parts)) or 'none'})\b[\w-]*"
    return " ".join(["show fade active disabled", *re.findall(rf"\b{of_parts}", text)])


def names_in(pages: list[str], scripts: list[str]) -> set[str]:
    """Every class and id of the pages, and every word that a script could make one of."""
    listed = {v for page in pages for v in re.findall(r'\b(?:class|id)="([^"]*)"', page)}
    names = {name for value in listed for name in value.split()}
    return names.union(*(re.findall(r"[A-Za-z_][\w-]*", script) for script in scripts))


def themed(svg: str) -> str:
    """Return matplotlib's SVG in the colours of the page that shows it."""
    svg = ON_COLOUR.sub(r"\1white", svg)  # words on the colours of a heat map stay as they are
    svg = GREY.sub(lambda m: f"{m[1]}: var(--c{m[2][1:]})" if m[2] in DARK else m[0], svg)
    svg = svg.replace(f"fill-opacity: {CLOUD}", "fill-opacity: var(--cloud)")
    light = ";".join([*(f"--c{grey[1:]}:{grey}" for grey in DARK), f"--cloud:{CLOUD}"])
    dark = ";".join([*(f"--c{grey[1:]}:{other}" for grey, other in DARK.items()), "--cloud:0.8"])
    style = f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"
    return svg.replace("</style>", f"{style}</style>", 1)


@cache
def size(path: Path) -> tuple[int, int, int] | None:
    """Width and height of an SVG in pixels, and the width at which its letters can be read."""
    svg = path.read_text("utf-8", errors="replace")
    found = re.search(r'<svg[^>]*? width="([\d.]+)pt" height="([\d.]+)pt"', svg[:2000])
    if not found:
        return None
    wide, high = (round(float(n) * 4 / 3) for n in found.groups())
    letters = [float(n) for n in re.findall(r"scale\((0\.\d+) -", svg)]  # in hundreds of points
    smallest = 100 * 4 / 3 * min(letters, default=1)
    return wide, high, round(wide * min(READABLE / smallest, 1.1))


def with_sizes(text: str, page: Path) -> str:
    """Tell the browser how large figures are, how large on a phone, and which of them can wait."""
    title = text.find("</h1>")

    def sized(found: re.Match[str]) -> str:
        file = page.parent / found[1]
        wide = size(file.resolve()) if file.suffix == ".svg" and file.exists() else None
        later = ' loading="lazy"' if found.start() > title + NEAR else ""
        if not wide:
            return found[0].replace("<img ", f"<img{later} ", 1)
        given = ' width="{}" height="{}" style="--readable:{}px"'.format(*wide)
        return f'<span class="drawn">{found[0].replace("<img ", f"<img{later}{given} ", 1)}</span>'

    return re.sub(r'<img [^>]*?src="([^"]+)"[^>]*>', sized, text)


def lighten(out: Path) -> None:
    """Rewrite the pages of a built site and write their one style sheet."""
    static = out / "_static"
    for figure in [*(out / "_images").glob("*.svg"), *(out / "slides").glob("*.svg")]:
        figure.write_text(slim(themed(figure.read_text("utf-8"))), "utf-8")
    paths = [p for p in sorted(out.rglob("*.html")) if '<div id="pst-' in p.read_text("utf-8")]
    texts = [p.read_text("utf-8") for p in paths]
    scripts = [
        words_of(p, texts)
        for p in out.rglob("*.js")
        if not {"vendor", "data", "locales"} & set(p.parts) and p.name != "searchindex.js"
    ]
    sheets = dict.fromkeys(
        (page.parent / file).resolve()
        for page, text in zip(paths, texts, strict=True)
        for file in STYLE.findall(text)
        if "_static/" in file
    )
    css = "\n".join(sheet(path, static.resolve()) for path in sheets)
    css = used(css, names_in(texts, scripts))
    css = without_unread_variables(css, "".join(scripts) + "".join(texts))
    css = with_icons(css, static)
    (static / "site.css").write_text(css, "utf-8")
    options = (static / "documentation_options.js").read_text("utf-8")
    options = "<script>" + re.sub(r"\s+", " ", options).strip() + "</script>"
    version = hashlib.sha256(css.encode()).hexdigest()[:8]
    for page, text in zip(paths, texts, strict=True):
        up = "../" * len(page.relative_to(out).parts[1:])
        link = f'\n<link rel="stylesheet" href="{up}_static/site.css?v={version}" />'
        first = STYLE.search(text)
        text = text[: first.start()] + link + STYLE.sub(
            lambda m: "" if "_static/" in m[1] else m[0], text[first.start() :]
        )  # fmt: skip
        text = PRELOAD.sub("", ICONS.sub("", text))
        text = OPTIONS.sub(lambda _: options, text)  # short, and what follows it cannot wait
        text = SOLUTION.sub(r"\1 \2", text)
        text = LISTING.sub(lambda found: UNCOLOURED.sub(r"\1", found[0]), text)
        if page.name != "search.html":  # its script looks for the words at once
            text = SCRIPTS.sub(r"<script defer \1", text)
        # The title above the contents is a landmark's, as everything on a page should be.
        text = text.replace('<div id="pst-primary-sidebar"', SIDEBAR)
        if "above-input" in text:  # the first <h1> of a page is the title for paper
            before, article, after = text.partition('<article class="bd-article"')
            text = before + article + after.replace("</h1>", "</h1>" + SWITCH, 1)
        page.write_text(with_sizes(text, page), "utf-8")
    fonts = static / "vendor" / "fontawesome" / "webfonts"
    for path in {
        *sheets,
        *static.rglob("*.map"),
        *static.rglob("fontawesome.js*"),
        *fonts.glob("*"),
    }:
        path.unlink()


def finish(app: Sphinx, error: Exception | None) -> None:
    """Lighten the site that Sphinx has written."""
    if not error and app.builder.format == "html":
        lighten(Path(app.outdir))


# They say nothing of it; both act only before pages are read and after all are.
PARALLEL = ("sphinx_multitoc_numbering", "sphinx_jupyterbook_latex")


def several_processes(app: Sphinx, config: object) -> None:
    """Let pages be read in several processes."""
    for name in PARALLEL:
        app.extensions[name].parallel_read_safe = True


def setup(app: Sphinx) -> dict[str, bool]:
    """Rewrite pages when all are written."""
    app.connect("config-inited", several_processes)
    app.connect("build-finished", finish, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

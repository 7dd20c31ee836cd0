"""Sphinx extension: what every reader should get, also without a script, a network or a screen.

Formulas become MathML when the book is built: every current browser shows it itself and screen
readers read it aloud, which neither a picture nor a script's output gives. The entries of the
bibliography say that they are items of a list, figures what they show, pages what they are about;
a term leads to the glossary where a page first uses it.
The API pages show our code only, and read its docstrings as the plain text they are: `x_` and |A|
are mathematics, `name` is code.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number
from sphinx.util.nodes import make_refnode
from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)


def mathml(node: nodes.math | nodes.math_block, display: str) -> str:
    """Return the MathML of a formula; a formula that cannot be read is a warning."""
    latex = node.astext()
    try:
        return convert(latex, display=display)
    except Exception as error:  # the converter raises many kinds; all mean "cannot be read"
        logger.warning("formula %r cannot be converted: %s", latex, error, location=node)
        return f"<code>{latex}</code>"


def visit_inline(self: HTML5Translator, node: nodes.math) -> None:
    """Write a formula within a line."""
    self.body.append(mathml(node, "inline"))
    raise nodes.SkipNode


def visit_block(self: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula on its own line, with its number if it has one."""
    self.body.append(self.starttag(node, "div", CLASS="math-block"))
    if node["number"]:
        number = get_node_equation_number(self, node)
        self.body.append(f'<span class="eqno">({number})')
        self.add_permalink_ref(node, "Permalink to this equation")
        self.body.append("</span>")
    self.body.append(mathml(node, "block") + "</div>")
    raise nodes.SkipNode


def name_items(app: Sphinx, page: str, template: str, context: dict, doctree: object) -> None:
    """Give bibliography entries the role that the list around them expects (WAI-ARIA 1.2, list)."""
    if "citation-list" in context.get("body", ""):
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def first_sentence(text: str, most: int = 200) -> str:
    """Return the first sentence of a text, in one line, cut at a word if it is long."""
    line = re.split(r"(?<=[.?!])\s", " ".join(text.split()), maxsplit=1)[0]
    return line if len(line) <= most else line[:most].rsplit(" ", 1)[0] + " …"


def describe_figures(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Give a notebook's figures a text alternative: section, and the caption's first sentence.

    What comes after a figure in the same cell is its caption; without one Sphinx would have the
    path of the file read aloud.
    """
    for image in doctree.findall(nodes.image):
        if image.get("alt"):
            continue
        section = image.parent
        while section is not None and not isinstance(section, nodes.section):
            section = section.parent
        title = section.next_node(nodes.title).astext() if section is not None else page
        after = image.parent.children[image.parent.index(image) + 1 :]
        captions = [n for n in after if isinstance(n, nodes.paragraph)]
        said = first_sentence(captions[0].astext()) if captions else "the tables beside it say it"
        image["alt"] = f"Figure, {title}: {said}"


# Terms that are plain words as well, and pages that are lists of words or of results.
PLAIN = {"cell", "chance", "condition", "estimates", "pairs", "scores"}
UNLINKED = ("book/glossary", "book/api/", "book/assertions", "book/changelog", "book/references",
            "book/map")  # fmt: skip
CLOSED = (nodes.reference, nodes.title, nodes.literal, nodes.literal_block, nodes.table, nodes.raw,
          nodes.math, nodes.caption, pending_xref, nodes.term)  # fmt: skip


def link_terms(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Lead from the first use of a term on a page to what the glossary says of it."""
    if page.startswith(UNLINKED):
        return
    objects = app.env.get_domain("std").get_objects()
    terms = {n.lower(): (doc, anchor) for n, _, kind, doc, anchor, _ in objects if kind == "term"}
    for name in PLAIN & set(terms):
        del terms[name]
    for link in doctree.findall(nodes.reference):  # the author's own
        terms.pop(link.astext().lower(), None)
    for text in list(doctree.findall(nodes.Text)):
        if not terms:
            return
        above, inside = text.parent, False
        while above is not None and not isinstance(above, CLOSED):
            inside = inside or isinstance(above, nodes.paragraph)
            above = above.parent
        if above is None and inside:
            text.parent.replace(text, list(linked(app, text.astext(), terms, page)))


def linked(
    app: Sphinx, text: str, terms: dict[str, tuple[str, str]], page: str
) -> Iterator[nodes.Node]:
    """Yield a text in pieces, those terms linked that it uses first; they leave `terms`."""
    words = "|".join(re.escape(t) for t in sorted(terms, key=len, reverse=True))
    at = 0
    for found in re.finditer(rf"(?<![\w-])({words})(?=s?(?![\w-]))", text, re.IGNORECASE):
        place = terms.pop(found[1].lower(), None)
        if place is None:
            continue
        yield nodes.Text(text[at : found.start()])
        link = make_refnode(app.builder, page, *place, nodes.Text(found[1]))
        link["classes"].append("term")
        yield link
        at = found.end()
    yield nodes.Text(text[at:])


def describe_page(app: Sphinx, page: str, template: str, context: dict, doctree: object) -> None:
    """Give search engines and link previews the question, or the first paragraph, of a page."""
    if not isinstance(doctree, nodes.document):  # search and the indexes
        called = {"search": "Search", "genindex": "All names"}.get(page, page)
        said = html.escape(f"{called}: {app.config.html_title}")
        context["metatags"] = (
            f'{context.get("metatags", "")}\n<meta name="description" content="{said}">'
        )
        return
    paragraph = doctree.next_node(nodes.paragraph)
    if paragraph is None or 'name="description"' in context.get("metatags", ""):
        return
    text = html.escape(first_sentence(paragraph.astext(), 160))
    title = html.escape(re.sub(r"<[^>]+>", "", str(context.get("title", ""))))
    card = "_static/card.png"  # whoever shows a link asks for a whole address, if there is one
    card = f"{app.config.html_baseurl.rstrip('/')}/{card}" if app.config.html_baseurl else (
        context["pathto"](card, 1)
    )  # fmt: skip
    said = {"og:title": title, "og:description": text, "og:type": "article", "og:image": card}
    tags = [f'<meta name="description" content="{text}">']
    tags += ['<meta name="twitter:card" content="summary_large_image">']
    tags += [f'<meta property="{name}" content="{value}">' for name, value in said.items()]
    context["metatags"] = "\n".join([context.get("metatags", ""), *tags])


CODE = re.compile(r"(``.+?``|:[\w:]+:`[^`]+`|`[^`]+`)")


def plain(line: str) -> str:
    """Return a line of a docstring with the markup that nobody meant taken out.

    Single backticks become code; `|` and a trailing `_` outside of code stay what they look like.
    """
    parts = CODE.split(line)
    for i, part in enumerate(parts):
        if i % 2 == 0:
            parts[i] = re.sub(r"(?<=\w)_(?!\w)", r"\\_", part.replace("|", r"\|"))
        elif part.startswith("`") and not part.startswith("``"):
            parts[i] = f"`{part}`"
    return "".join(parts)


def read_plainly(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Apply `plain` to a docstring, code blocks left alone."""
    block: int | None = None  # indentation of the line that opened a code block
    for i, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if block is not None and line.strip() and indent <= block:
            block = None
        if block is None and not line.lstrip().startswith((">>>", "...", "+--", "|")):
            lines[i] = plain(line)
        if block is None and line.rstrip().endswith("::"):
            block = indent


def ours_only(
    app: Sphinx, what: str, name: str, obj: object, skip: bool, options: object
) -> bool | None:
    """Leave out members that a base class of another library wrote into ours."""
    module = getattr(obj, "__module__", None) or "xltlib"
    return None if module.startswith("xltlib") else True


def without_options(
    app: Sphinx, what: str, name: str, item: object, options: object, signature: str, gives: str
) -> tuple[str, str] | None:
    """Commands by their names alone: their options are Typer's objects, which `--help` shows."""
    return ("", "") if name.startswith("xltlib.cli.") else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer and the corrections."""
    app.connect("autodoc-skip-member", ours_only)
    app.connect("autodoc-process-signature", without_options)
    app.connect("autodoc-process-docstring", read_plainly, priority=400)  # before napoleon
    app.connect("doctree-resolved", describe_figures, priority=900)
    app.connect("doctree-resolved", link_terms, priority=950)
    app.connect("html-page-context", name_items)
    app.connect("html-page-context", describe_page)
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}

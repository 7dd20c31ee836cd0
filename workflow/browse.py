"""Open every page of a built book in Chromium and report what is wrong with it.

`python workflow/browse.py build/quick/html` reads the site from disk, in both themes and two
widths, and reports requests to the outside, errors in the console, pages that scroll sideways or
are heavy, and what axe-core finds.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CURE = (
    "No Chromium found. Install it (Debian, Ubuntu: apt-get install chromium; macOS: brew install "
    "--cask chromium) or name one with XLT_CHROMIUM=/path/to/chromium."
)
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
WIDTHS = {"wide": (1280, 900), "narrow": (390, 844)}
THEMES = ("light", "dark")
# The reference repeats one pattern hundreds of times; the first entry of each kind stands for all.
ALIKE = "dl.py ~ dl.py"
# Pages without content of their own: a redirect.
REDIRECTS = {"index.html"}


@dataclass(frozen=True)
class Finding:
    """One thing wrong with one page as it was looked at."""

    page: str
    theme: str
    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.page} ({self.theme}) {self.kind}: {self.what}"


def chromium() -> str | None:
    """Return the path of a Chromium on this machine, or None."""
    named = os.environ.get("XLT_CHROMIUM")
    return named or next((p for p in map(shutil.which, BROWSERS) if p), None)


def pages(site: Path) -> list[Path]:
    """Return every page of the site in a fixed order."""
    found = sorted(p for p in site.rglob("*.html") if "_static" not in p.parts)
    return [p for p in found if p.relative_to(site).as_posix() not in REDIRECTS]


HEAVIEST = 1_500_000  # bytes of a page with all that it names
LOADS = re.compile(
    r"""<(?:script|link|img)\b[^>]*?(?:src|href)="([^"?#]+\.(?:js|css|svg|png))["?#]"""
)


def axe_script() -> str:
    """Return axe-core, which the Python package brings along."""
    import axe_playwright_python

    return (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text("utf-8")


@contextmanager
def browser() -> Iterator[Any]:
    """Start the machine's Chromium without a window."""
    from playwright.sync_api import sync_playwright

    path = chromium()
    if path is None:
        raise FileNotFoundError(CURE)
    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield running
        finally:
            running.close()


def weight(page: Path, site: Path) -> int:
    """Bytes of a page with the styles, scripts and pictures that it names, its explorer's too."""
    text = page.read_text("utf-8")
    files = {(page.parent / name).resolve() for name in LOADS.findall(text)}
    for later in re.findall(r'data-then="([^"]+)"', text):
        files |= {site / "explore" / name for name in later.split()}
    return sum(file.stat().st_size for file in {page, *files} if file.is_file())


def violations(axe_result: dict) -> list[str]:
    """Return what axe found, of every level, each with the first two places."""
    said = []
    for violation in axe_result["violations"]:
        nodes = violation["nodes"]
        places = "; ".join(node["html"][:120] for node in nodes[:2])
        said.append(f"{violation['id']} ({len(nodes)}): {places}")
    return said


def visit(context: Any, path: Path, name: str, theme: str, axe: str, whole: bool) -> list[Finding]:
    """Look at one page in one theme: all checks when it is wide, then whether it fits a phone."""
    tab, seen = context.new_page(), list[tuple[str, str]]()

    def ask(route: Any) -> None:
        url = route.request.url
        if url.startswith(("file:", "data:", "blob:")):
            route.continue_()
        else:
            seen.append(("outside request", url))
            route.abort()

    tab.route("**/*", ask)
    tab.on("pageerror", lambda error: seen.append(("script error", str(error))))
    tab.on(
        "console",
        lambda said: seen.append(("console error", said.text)) if said.type == "error" else None,
    )
    tab.goto(path.resolve().as_uri(), wait_until="load")
    shown = tab.evaluate("document.documentElement.dataset.theme")
    if shown != theme:
        seen.append(("theme", f"{shown} is shown instead"))
    tab.evaluate(axe)
    # Without preload axe does not fetch style sheets again, which a page from disk may not do.
    exclude = [] if whole or not tab.query_selector(ALIKE) else [[ALIKE]]
    result = tab.evaluate(
        "e => axe.run({exclude: e}, {preload: false, resultTypes: ['violations']})", exclude
    )
    seen += [("axe", said) for said in violations(result)]
    for width, (across, down) in WIDTHS.items():
        tab.set_viewport_size({"width": across, "height": down})
        wider = tab.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        if wider > 1:
            seen.append(("scrolls sideways", f"by {wider} px when {width}"))
    tab.close()
    return [Finding(name, theme, kind, what) for kind, what in seen]


def check(
    site: Path,
    themes: Sequence[str] = THEMES,
    whole: bool = False,
    only: Sequence[Path] | None = None,
) -> list[Finding]:
    """Look at every page (or `only` these) in each of the themes; `whole`: every API entry."""
    axe, looked_at = axe_script(), pages(site) if only is None else only
    findings = [
        Finding(page.relative_to(site).as_posix(), "both", "heavy", f"{bytes_ / 1e6:.2f} MB")
        for page, bytes_ in ((p, weight(p, site)) for p in looked_at)
        if bytes_ > HEAVIEST
    ]
    with browser() as running:
        for theme in themes:
            across, down = WIDTHS["wide"]
            context = running.new_context(
                viewport={"width": across, "height": down}, color_scheme=theme
            )
            # What the theme's own switch remembers.
            context.add_init_script(
                f"localStorage.setItem('mode', '{theme}');localStorage.setItem('theme', '{theme}');"
            )
            for path in looked_at:
                name = path.relative_to(site).as_posix()
                findings += visit(context, path, name, theme, axe, whole)
            context.close()
    return findings


def main() -> int:
    """Check the site named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", type=Path, help="folder with the built pages")
    parser.add_argument("--whole", action="store_true", help="every API entry, not one of a kind")
    args = parser.parse_args()
    site = args.site
    found = pages(site)
    if not found:
        print(f"No page in {site}: run `make book` first.", file=sys.stderr)
        return 2
    try:
        findings = check(site, whole=args.whole)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    for finding in findings:
        print(finding)
    print(
        f"{len(found)} pages, {len(THEMES)} themes, {len(WIDTHS)} widths: {len(findings)} findings"
    )
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())

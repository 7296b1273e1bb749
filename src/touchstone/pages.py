"""One HTML page that needs nothing else: inline style and SVG, no script, no link.

Every text is escaped where it is put in; readable in light and dark, and printable.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from touchstone.plots import STYLE as PLOT_STYLE
from touchstone.plots import Figure, figure_svg

CONTENT_SECURITY_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
"""What a browser may load for the page: nothing."""

_STYLE: Final = """
:root{--ink:#1b1f24;--soft:#5b6570;--rule:#d6dbe1;--paper:#fff;--bad:#b3261e;--good:#1a6b3c;
--blue:#1f5fa8;--grey:#b8c0c9;color-scheme:light dark}
@media screen and (prefers-color-scheme:dark){:root{--ink:#e4e8ec;--soft:#aab4bf;--rule:#3c444d;
--paper:#15191e;--bad:#ff938a;--good:#6fdca9;--blue:#79b8ff;--grey:#5b6570}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);
max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}
h3{font-size:1rem;margin:1.2rem 0 .3rem}
p{margin:.3rem 0}.soft{color:var(--soft)}.bad{color:var(--bad);font-weight:600}
.good{color:var(--good);font-weight:600}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.87rem}
th,td{text-align:left;padding:.25rem .6rem .25rem 0;border-bottom:1px solid var(--rule);
vertical-align:top;overflow-wrap:anywhere}
th,td:first-child{white-space:nowrap}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}td.n{white-space:nowrap}
figure{margin:1rem 0}figcaption{font-size:.87rem;color:var(--soft)}
@media print{body{margin:0}}
"""


def page(title: str, sections: Sequence[str], *, style: str = "") -> str:
    """Return the document of a title and of sections that are HTML already."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_SECURITY_POLICY}">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{PLOT_STYLE}{_STYLE}{style}</style></head>"
        f"<body>{''.join(sections)}</body></html>\n"
    )


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table; a head that begins with `#` is that of numbers."""
    if not rows:
        return '<p class="soft">None.</p>'
    css = [' class="n"' if head.startswith("#") else "" for head in heads]
    names = "".join(f"<th{c}>{escape(h.lstrip('#'))}</th>" for c, h in zip(css, heads, strict=True))
    lines = [
        "".join(f"<td{c}>{escape(str(v))}</td>" for c, v in zip(css, row, strict=True))
        for row in rows
    ]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return (
        '<div class="wide">'
        f"<table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def figure(drawn: Figure) -> str:
    """Return a plot with its title below which it stands."""
    return f"<figure><figcaption>{escape(drawn.title)}</figcaption>{figure_svg(drawn)}</figure>"


def facts(values: Mapping[str, object]) -> str:
    """Return a table of names and what they are."""
    return table(("", ""), [(name, value) for name, value in values.items()])

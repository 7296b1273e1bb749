"""Diagrams of the documentation's pages, drawn when the site is built: reading needs no network."""

import hashlib
import re
from typing import Any, Final

SCALE: Final = 0.7
"""Of the drawing's own size: its letters are then about as large as the page's."""

_WIDTH: Final = re.compile(r'viewBox="[-0-9.]+ [-0-9.]+ ([0-9.]+) ')
_PANEL: Final = "background: #fff; padding: 0.8rem; margin: 1em 0; overflow-x: auto"


def drawn(source: str, *_about_the_fence: Any, **_more: Any) -> str:
    """Return a fenced Mermaid diagram as HTML: an SVG on white, whatever the page's colours.

    What pymdownx calls with the text between the fences. A diagram that is wider than the page can
    be scrolled.

    Raises:
        SuperFencesException: the text is no diagram; the build ends there (any other exception
            would leave the text on the page).
    """
    # Only who builds the site has them.
    import mermaidx  # noqa: PLC0415
    from pymdownx.superfences import SuperFencesException  # noqa: PLC0415

    try:
        svg = mermaidx.render(source).svg()
    except RuntimeError as error:
        raise SuperFencesException(f"a diagram cannot be drawn: {error}") from None
    # Styles and arrow heads are named after the drawing: two on a page must not share a name.
    svg = svg.replace("my-svg", f"diagram-{hashlib.sha256(source.encode()).hexdigest()[:8]}")
    width = _WIDTH.search(svg)
    if width is not None:
        svg = svg.replace('width="100%"', f'width="{round(float(width[1]) * SCALE)}"', 1)
    return f'<figure class="diagram" style="{_PANEL}">{svg}</figure>'

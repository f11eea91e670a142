"""HTML as strings in which every text from outside is escaped.

What is HTML already is a `Markup`; anything else that goes into a page is text, and is escaped.
"""

import base64
import gzip
import html
import json
from collections.abc import Iterable, Sequence
from typing import Any

_VOID = ('input',)  # elements that have no end


class Markup(str):
    """A string that is HTML."""


def text(value: Any) -> Markup:
    """A value as HTML: itself if it is `Markup`, else its text, escaped."""
    return value if isinstance(value, Markup) else Markup(html.escape(str(value)))


def element(tag: str, *content: Any, **attributes: Any) -> Markup:
    """<tag attributes>content</tag>; `class_` is the attribute class, None leaves one out."""
    given = {
        name.rstrip('_'): value
        for name, value in attributes.items()
        if value is not None and value is not False
    }
    said = ''.join(
        f' {name}' if value is True else f' {name}="{html.escape(str(value))}"'
        for name, value in given.items()
    )
    if tag in _VOID:
        return Markup(f'<{tag}{said}>')
    return Markup(f'<{tag}{said}>{"".join(map(text, content))}</{tag}>')


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]], class_: str | None = None) -> Markup:
    """A table whose rows begin with a heading; cells are text unless they are `Markup`.

    End tags that HTML does not ask for are left out.
    """
    first = ''.join(f'<th>{text(cell)}' for cell in head)
    lines = [
        f'<tr><th>{text(name)}' + ''.join(f'<td>{text(cell)}' for cell in cells)
        for name, *cells in rows
    ]
    body = Markup(f'<thead><tr>{first}<tbody>{"".join(lines)}')
    return element('div', element('table', body, class_=class_), class_='wide')


def details(summary: Any, *content: Any, open: bool = False) -> Markup:
    """What is unfolded by a click."""
    return element('details', element('summary', summary), *content, open=open)


def paragraph(*content: Any) -> Markup:
    """<p>."""
    return element('p', *content)


def packed(id: str, value: Any) -> Markup:
    """JSON for the script of the page as gzip in base64: for what is large. As `data` else."""
    said = json.dumps(value, separators=(',', ':'), allow_nan=False)
    small = base64.b64encode(gzip.compress(said.encode(), mtime=0)).decode()
    return Markup(f'<script type="text/plain" id="{html.escape(id)}">{small}</script>')


def data(id: str, value: Any) -> Markup:
    """JSON for the script of the page, in which nothing can end the element that holds it.

    Raises ValueError for NaN and infinities, which JSON has not.
    """
    said = json.dumps(value, separators=(',', ':'), allow_nan=False)
    for sign in '<>&':
        said = said.replace(sign, f'\\u{ord(sign):04x}')
    return Markup(f'<script type="application/json" id="{html.escape(id)}">{said}</script>')

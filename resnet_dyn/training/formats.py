"""The number of the format of config.json and of checkpoints, and how a newer one is told.

It is raised when what an older version would make of them is not what they say. Files without a
number are of the first format.
"""

import re
from collections.abc import Mapping
from importlib import metadata
from typing import Any

KEY, FORMAT = 'format', 1


def newer(everything: Any) -> str:
    """Why this version cannot read what a newer one has made, in words; '' where none says so."""
    if not isinstance(everything, Mapping):
        return ''
    number = everything.get(KEY, FORMAT)
    return _said(everything) if isinstance(number, int) and number > FORMAT else ''


def by_a_newer_version(everything: Any) -> str:
    """The same of what cannot be read for another reason, where a newer version has made it."""
    return _said(everything) if _parts(_version(everything)) > _parts(_ours()) else ''


def _said(everything: Mapping[str, Any]) -> str:
    theirs = _version(everything) or 'later'
    return (
        f'it was made by a newer version of resnet_dyn ({theirs}; this is {_ours()}): install that '
        'one (pip install --upgrade resnet_dyn, or in a checkout git pull and make env) and start '
        'again; nothing was changed'
    )


def _version(everything: Any) -> str:
    """The newest version that a file says had a part in it, as `records.provenance` writes it."""
    if not _is(everything):
        return ''
    segments = everything.get('segments')
    parts = [everything, everything.get('provenance')]
    parts += segments if isinstance(segments, list) else []
    codes = [part.get('code') for part in parts if _is(part)]
    found = [code.get('version') for code in codes if _is(code)]
    return max((version for version in found if isinstance(version, str)), key=_parts, default='')


def _ours() -> str:
    return metadata.version('resnet_dyn')


def _parts(version: str) -> list[int]:
    return [int(number) for number in re.findall(r'\d+', version)]


def _is(value: Any) -> bool:
    return isinstance(value, Mapping)

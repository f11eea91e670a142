"""Characters of a text, to be told from those before them: real, and offline wherever Python is.

The text is the documentation of Python that its own `help()` reads (`pydoc_data.topics`), each
paragraph once, topics in the order of their names; or a file of yours (`config.data.dir`). Its
first nine tenths are to train on, the rest to test on: cut into sequences of T characters, of which
no two have a character in common, the labels the same characters one place on.

Python's text is another in every version: 373,292 characters of 103 kinds in 3.11.7. The digest of
a data set is of the sequences, so that a run does not go on with another text.
"""

import os
import pathlib
import platform

import numpy as np

from resnet_dyn import config, errors
from resnet_dyn.data import splits

TRAIN_SHARE = 0.9


def load(data: config.Data) -> splits.Pair:
    """Both splits: tokens (N, T) int32 with values 0..V-1, and the ones that follow, alike.

    V, the number of classes, is that of the kinds of characters in the whole text, in the order of
    their code points. Raises `DataError` for a file that is absent or no text in UTF-8, and for a
    text that is too short for one sequence in each part, or all of one character.
    """
    text, note = _of_python() if data.dir is None else _of_file(data.dir)
    points = np.frombuffer(text.encode('utf-32-le'), np.uint32)
    kinds, tokens = np.unique(points, return_inverse=True)
    cut, T = int(TRAIN_SHARE * len(tokens)), data.length
    if min(cut, len(tokens) - cut) <= T or len(kinds) < 2:
        raise errors.DataError(
            f'the text ({note}) has {len(tokens):,} characters of {len(kinds)} kinds: its last '
            f'tenth must hold more than one sequence of config.data.length={T}, and its characters '
            'must differ; lower the length, or take a longer text'
        )
    parts = (_sequences(part.astype(np.int32), T) for part in (tokens[:cut], tokens[cut:]))
    return splits.Pair(*parts, classes=len(kinds), note=note)


def _of_python() -> tuple[str, str]:
    from pydoc_data import topics

    paragraphs = [p for _, topic in sorted(topics.topics.items()) for p in topic.split('\n\n')]
    once = {' '.join(paragraph.split()): paragraph for paragraph in reversed(paragraphs)}
    text = '\n\n'.join(reversed(once.values()))
    return (
        text,
        f'pydoc_data.topics of Python {platform.python_version()}, {len(text):,} characters',
    )


def _of_file(name: str) -> tuple[str, str]:
    path = pathlib.Path(os.path.expanduser(name))
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise errors.DataError(
            f'{path} (config.data.dir) is no text in UTF-8 ({error}): save it as one'
        ) from error
    except OSError as error:
        raise errors.DataError(
            f'{path} (config.data.dir) cannot be read ({errors.reason(error)}): of '
            "config.data.name=text it names a file of text, and unset it is Python's own documents"
        ) from error
    return text, f'{path.name}, {len(text):,} characters'


def _sequences(tokens, T: int) -> splits.Split:
    number = (len(tokens) - 1) // T
    inputs, labels = (tokens[at : at + number * T].reshape(number, T) for at in (0, 1))
    return splits.Split(inputs, labels)

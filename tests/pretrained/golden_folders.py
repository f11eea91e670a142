"""Folders as a reference library saved them, made again from what is stored of them.

A golden keeps the config and the names, shapes and files of the weights; the weights themselves
are drawn by name, here and where the reference library is given them (`make parity`).
"""

import json
import pathlib
import shutil
import zlib

import numpy as np
from safetensors.numpy import save_file

GOLDENS = pathlib.Path(__file__).parent / 'goldens'


def names() -> list[str]:
    """The goldens that are stored."""
    return sorted(path.name for path in GOLDENS.iterdir() if path.is_dir())


def draw(name: str, shape) -> np.ndarray:
    """A float32 array by its name and shape, of sizes that keep deep signals near 1.

    Scales of norms lie around 1, variances in 0.5..1.5, none of them is trivial. `RandomState` is
    the generator whose numbers NumPy keeps as they are.
    """
    random, shape = np.random.RandomState(zlib.crc32(name.encode())), tuple(shape)
    if name.endswith('running_var'):
        values = 0.5 + random.random_sample(shape)
    elif len(shape) == 1 and name.endswith('weight'):
        values = 1 + 0.3 * random.standard_normal(shape)
    elif len(shape) == 4:
        values = random.standard_normal(shape) * np.sqrt(1 / np.prod(shape[1:]))
    else:
        values = 0.2 * random.standard_normal(shape)
    return np.asarray(values, np.float32)


def images(shape) -> np.ndarray:
    """Random images in the layout of the reference library, (B, channels, height, width)."""
    return np.random.RandomState(7).standard_normal(shape).astype(np.float32)


def probe(shape) -> np.ndarray:
    """Random directions in which outputs are projected to one number."""
    return np.random.RandomState(9).standard_normal(tuple(shape)).astype(np.float32)


def tensor(name: str, shape, dtype: str) -> np.ndarray:
    """What a file holds under a name; counters of steps are 0."""
    if dtype != 'float32':
        return np.zeros(shape, dtype)
    return draw(name, shape)


def build(name: str, folder, kind: str = 'saved', goldens=GOLDENS) -> pathlib.Path:
    """Writes the folder of a golden, `saved` by today's library or as `published` before."""
    source, folder = pathlib.Path(goldens) / name, pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files, names, extra = json.loads((source / 'tensors.json').read_text()), {}, {}
    if kind == 'saved':
        shutil.copy(source / 'config.json', folder)
    else:
        other = json.loads((source / 'published.json').read_text())
        (folder / 'config.json').write_text(json.dumps(other['config']))
        names, extra = other['names'], other['extra']
    for file, tensors in files.items():
        arrays = {names.get(key, key): tensor(key, *rest) for key, rest in tensors.items()}
        arrays |= {key: tensor(key, *rest) for key, rest in extra.items()}
        save_file(arrays, folder / file, {'format': 'pt'})
        extra = {}
    if len(files) > 1:
        where = {names.get(key, key): file for file, part in files.items() for key in part}
        index = {'metadata': {}, 'weight_map': where}
        (folder / 'model.safetensors.index.json').write_text(json.dumps(index))
    return folder


def has_published(name: str) -> bool:
    """Whether a folder on the Hub differs from what the library writes today."""
    return (GOLDENS / name / 'published.json').exists()


def expected(name: str, goldens=GOLDENS) -> dict[str, np.ndarray]:
    """The inputs of a golden and what the reference library makes of them."""
    with np.load(pathlib.Path(goldens) / name / 'expected.npz') as found:
        found = dict(found)
    if 'shape' in found:
        found['images'] = images(found.pop('shape'))
    return found

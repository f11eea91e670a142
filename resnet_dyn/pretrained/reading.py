"""A folder in Hugging Face's layout: its config, its tokenizer, and the headers of its weights.

Of a weights' file nothing is read here beyond the header; `arrays` reads the rest.
"""

import json
import pathlib
from typing import NamedTuple

import safetensors

from resnet_dyn import errors

PICKLES = ('*.bin', '*.pt', '*.pth', '*.pkl', '*.ckpt')


class Tensor(NamedTuple):
    """Where a tensor lies."""

    path: pathlib.Path
    start: int  # byte of the file
    dtype: str  # as safetensors says it
    shape: tuple[int, ...]


class Folder:
    """A folder's config and headers. Raises PretrainedError where one is missing or damaged."""

    def __init__(self, folder):
        self.path = pathlib.Path(folder).expanduser()
        if not self.path.is_dir():
            raise errors.PretrainedError(
                f'{self.path} is no folder: expected one in the layout of Hugging Face '
                '(config.json, model.safetensors). Nothing is downloaded here; a name of their hub '
                f'becomes a folder by: hf download {folder} --local-dir FOLDER'
            )
        self.config = _json(self.path, 'config.json')
        self.tensors = {
            name: tensor for path in _files(self.path) for name, tensor in header(path).items()
        }
        _check_index(self.path, self.tensors)


def header(path: pathlib.Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; the file is not read beyond its header."""
    try:
        with safetensors.safe_open(path, framework='numpy'):  # which checks it
            pass
        with path.open('rb') as file:
            length = int.from_bytes(file.read(8), 'little')
            entries = json.loads(file.read(length))
    except OSError as error:
        raise errors.PretrainedError(f'{path} cannot be read: {errors.reason(error)}') from error
    except safetensors.SafetensorError as error:
        raise errors.PretrainedError(_damaged(path, error)) from error
    entries.pop('__metadata__', None)
    return {
        name: Tensor(path, 8 + length + e['data_offsets'][0], e['dtype'], tuple(e['shape']))
        for name, e in entries.items()
    }


def tokenizer(folder: pathlib.Path):
    """The folder's tokenizer, or None where it has no tokenizer.json."""
    path = folder / 'tokenizer.json'
    if not path.exists():
        return None
    import tokenizers  # by those alone who need it

    try:
        return tokenizers.Tokenizer.from_str(path.read_text(encoding='utf-8'))
    except Exception as error:  # the library raises nothing narrower
        raise errors.PretrainedError(
            f'{path} is no tokenizer that can be read: {errors.reason(error)}. Fetch it again, or '
            'remove it: the network opens without one'
        ) from error


def _json(folder: pathlib.Path, name: str) -> dict:
    path = folder / name
    try:
        value = json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError as error:
        raise errors.PretrainedError(
            f'{folder} has no {name}: expected a folder in the layout of Hugging Face, with '
            'config.json beside the weights. Fetch the whole folder'
        ) from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise errors.PretrainedError(f'{path} cannot be read: {errors.reason(error)}') from error
    if not isinstance(value, dict):
        raise errors.PretrainedError(f'{path} holds {type(value).__name__}, expected an object')
    return value


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
    """The safetensors files of a folder."""
    if (folder / 'model.safetensors').exists():
        return [folder / 'model.safetensors']
    if (folder / 'model.safetensors.index.json').exists():
        index = _weight_map(folder)
        shards = sorted(set(index.values()))
        missing = [name for name in shards if not (folder / name).exists()]
        if missing:
            raise errors.PretrainedError(
                f'{folder} lacks {len(missing)} of the {len(shards)} shards that '
                f'model.safetensors.index.json names: {", ".join(missing)}. Fetch them'
            )
        return [folder / name for name in shards]
    pickles = sorted({path.name for kind in PICKLES for path in folder.glob(kind)})
    if pickles:
        raise errors.PretrainedError(
            f'{folder} has its weights in {", ".join(pickles)} alone: a pickle runs code when it '
            'is loaded, and is never loaded here. Where you trust it, convert it once, where torch '
            'and transformers are installed: AutoModelForCausalLM.from_pretrained(FOLDER)'
            '.save_pretrained(OTHER) writes model.safetensors; or fetch the safetensors that most '
            'publishers have beside it'
        )
    raise errors.PretrainedError(
        f'{folder} has no weights: expected model.safetensors, or its shards with '
        'model.safetensors.index.json'
    )


def _weight_map(folder: pathlib.Path) -> dict[str, str]:
    index = _json(folder, 'model.safetensors.index.json').get('weight_map')
    named = isinstance(index, dict) and all(isinstance(name, str) for name in index.values())
    if not named or not index:
        raise errors.PretrainedError(
            f'{folder / "model.safetensors.index.json"} has no weight_map of the names of shards: '
            'fetch it again'
        )
    return index


def _check_index(folder: pathlib.Path, tensors: dict[str, Tensor]) -> None:
    """Where there are shards, that each holds what the index says."""
    if (folder / 'model.safetensors').exists():
        return
    for name, shard in _weight_map(folder).items():
        if name not in tensors:
            raise errors.PretrainedError(
                f'{folder / shard} lacks the tensor {name}, which model.safetensors.index.json '
                'says is there: the shards and the index are of different networks; fetch them '
                'again'
            )


def _damaged(path: pathlib.Path, error: Exception) -> str:
    size = path.stat().st_size
    with path.open('rb') as file:
        if file.read(7) == b'version':
            return (
                f'{path} is a pointer of Git LFS of {size} bytes, not the weights: run git lfs '
                'pull in the folder, or fetch the file itself'
            )
    return (
        f'{path} is no whole safetensors file ({size} bytes): {errors.reason(error)}. It was '
        'probably cut while it was fetched: fetch it again'
    )

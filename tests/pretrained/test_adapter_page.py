"""The adapter that docs/pretrained.md shows opens a network; the page names the layouts."""

import pathlib
import re

import numpy as np
import published
import pytest

from resnet_dyn import errors, pretrained
from resnet_dyn.models import stack
from resnet_dyn.pretrained import layouts

PAGE = (pathlib.Path(__file__).parents[2] / 'docs' / 'pretrained.md').read_text()
CONFIG = {'model_type': 'toy', 'vocab_size': 7, 'hidden_size': 4, 'num_hidden_layers': 3}


def test_the_adapter_of_the_page_opens_what_it_says_and_refuses_the_rest(monkeypatch, tmp_path):
    monkeypatch.setattr(layouts, 'LAYOUTS', dict(layouts.LAYOUTS))
    (code,) = re.findall(r'```python\n(.*?)```', PAGE, re.S)
    exec(code, {})
    opened = pretrained.open(published.write(tmp_path, {**CONFIG, 'slope': 0.5}))
    assert opened.names == ('0.layer', '1.layer', '2.layer')
    inputs = opened.inputs([[1, 2], [3, 0]], [[1, 1], [1, 0]])
    out = stack.apply(opened.net, inputs, np.array([1, 0, 1.0]))
    h, mask = np.asarray(opened.net.stem_params)[[[1, 2], [3, 0]]], inputs['mask'][..., None]
    for w in np.asarray(opened.net.stages[0].params)[[0, 2]]:
        h = h + np.tanh(0.5 * h @ w.T) * mask
    wanted = h @ np.asarray(opened.net.head_params).T
    np.testing.assert_allclose(out, wanted, rtol=1e-5, atol=1e-6)
    published.write(tmp_path, CONFIG)
    (tmp_path / 'config.json').write_text(str({**CONFIG, 'bend': 2}).replace("'", '"'))
    with pytest.raises(errors.PretrainedError, match='bend=2 is a setting'):
        pretrained.open(tmp_path)


def test_every_layout_of_the_table_is_on_the_page():
    page = PAGE.partition('## How to write')[0]
    names = {name for name in layouts.LAYOUTS if f'`{name}' not in page}
    assert names <= {'resnet34', 'resnet50', 'resnet101'}

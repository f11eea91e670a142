"""The Python of the README runs as it is written, on a small run."""

import pathlib
import re

from resnet_dyn import config
from resnet_dyn.training import loop

README = pathlib.Path(__file__).parent.parent / 'README.md'


def test_the_notebook_lines_of_the_readme_run_as_they_are_written(tmp_path):
    small = {'data.train_size': 200, 'data.test_size': 100, 'data.classes': 5, 'model.width': 8}
    cfg = config.parse({**small, 'train.steps': 2, 'log.tensorboard': False})
    loop.train(cfg, tmp_path / 'run', report=lambda line: None)
    (code,) = re.findall(r'```python\n(.*?)```', README.read_text(), re.S)
    *lines, last = code.replace("'runs/cifar'", repr(str(tmp_path / 'run'))).strip().splitlines()
    names = {}
    exec('\n'.join([*lines, f'scores = {last}']), names)
    assert names['scores']['loss'].shape == (9,)

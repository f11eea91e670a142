"""The Python of the README runs as it is written, on a small run and on its own networks."""

import pathlib
import re

import numpy as np
import published
import pytest

README = pathlib.Path(__file__).parent.parent / 'README.md'
SECTIONS = ('A real network', 'Your own network', 'A published network')


def code(section):
    """The blocks of Python of a section."""
    (text,) = re.findall(rf'^## {section}.*?(?=^## )', README.read_text(), re.S | re.M)
    return re.findall(r'```python\n(.*?)```', text, re.S)


def run(lines, names):
    """Runs the lines; the value of the last one, if that is an expression."""
    *before, last = lines.strip().splitlines()
    exec('\n'.join(before), names)
    return eval(last, names)


def test_no_python_of_the_readme_is_left_out():
    assert len(re.findall(r'```py', README.read_text())) == sum(map(len, map(code, SECTIONS)))


def test_the_notebook_lines_run_as_they_are_written(tiny_run):
    (lines,) = code('A real network')
    scores = run(lines.replace("'runs/cifar'", repr(str(tiny_run))), {})
    assert scores['loss'].shape == (3,)


@pytest.fixture(scope='module')
def own(tmp_path_factory, sketched):
    """What the section of other networks leaves: its names, its last values, its folder."""
    folder = tmp_path_factory.mktemp('readme')
    first, second, _ = code('Your own network')
    assert 'size=(6, 8, 8)' in first  # of fewer blocks here: each has programs of its own
    first = first.replace('size=(6, 8, 8)', 'size=(3, 8, 8)')
    names = {}
    losses = run(first.replace("'mine'", repr(str(folder / 'mine'))), names)
    return names, losses, run(second, names), folder / 'mine'


def test_a_network_of_functions_goes_through_the_measures_in_one_call(own):
    names, losses_SL, _, folder = own
    assert set(names['found']) == {'singles', 'depth', 'paths'} and losses_SL.shape == (1, 3)
    h = names['inputs']
    for w in names['weights'][1:]:  # without block 0
        h = h + np.tanh(h @ w)
    logits_BK = h[:, :4]
    log_sums_B = np.log(np.exp(logits_BK).sum(1))
    loss = (log_sums_B - logits_BK[np.arange(64), names['labels']]).mean()
    np.testing.assert_allclose(losses_SL[0, 0], loss, rtol=1e-5)
    assert (folder / 'pictures' / 'paths.png').exists() and (folder / 'records').is_dir()


def test_a_transformer_of_sublayers_is_a_stack_whose_blocks_are_deleted_one_by_one(own):
    names, _, greedy, _ = own
    assert names['net'].num_blocks == 8
    assert len(set(greedy.deleted_J.tolist())) == 4 and np.isfinite(greedy.value_J).all()


def test_a_flax_module_is_a_stack_by_the_names_of_its_blocks(own):
    names = dict(own[0])
    greedy = run(code('Your own network')[2], names)
    assert names['net'].names == ('layers_1', 'layers_2', 'layers_3', 'layers_4')
    assert [stage.length for stage in names['net'].stages] == [4]
    assert len(set(greedy.deleted_J.tolist())) == 2 and np.isfinite(greedy.value_J).all()


def test_a_published_network_loses_each_of_its_blocks_in_turn(tmp_path):
    (lines,) = code('A published network')
    sizes = {'vocab_size': 20, 'n_embd': 8, 'n_layer': 2, 'n_head': 2, 'n_positions': 16}
    folder = published.write(tmp_path, {'model_type': 'gpt2', **sizes}, 'To be , or not to A rose')
    losses = run(lines.replace("'gpt2'", repr(str(folder)), 1), {})
    assert list(losses) == ['0.attention', '0.mlp', '1.attention', '1.mlp']
    assert len(set(losses.values())) == 4 and np.isfinite(list(losses.values())).all()

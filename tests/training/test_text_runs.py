"""Runs of the transformer, like any other: killed, resumed, one network of several, analysed."""

import itertools
import shutil

import ends
import jax
import numpy as np
import pytest

from resnet_dyn import config, errors, fields
from resnet_dyn.analysis import effort, run_subjects, trajectories
from resnet_dyn.data import datasets
from resnet_dyn.reports import measures, selection
from resnet_dyn.training import checkpoints, loop, runs

VALUES = {
    'seeds': 2,
    'data.name': 'text',
    'data.length': 6,
    'data.train_size': 48,
    'data.test_size': 12,
    'model.family': 'transformer',
    'model.depth': 2,
    'model.width': 8,
    'model.heads': 2,
    'train.steps': 6,
    'train.batch_size': 16,
    'checkpoint.every': 2,
    'log.record': 2,
    'log.tensorboard': False,
}
QUICK, SLOW = ('gammas', 'depth', 'singles'), ('influence', 'depth_use', 'paths', 'interactions')


def train(cfg, workdir, **options):
    return loop.train(cfg, workdir, lambda line: None, devices=jax.devices()[:1], **options)


@pytest.fixture(scope='module')
def run(tmp_path_factory, shared_programs):
    workdir = tmp_path_factory.mktemp('text') / 'run'
    assert train(config.parse(VALUES), workdir).finished
    return workdir


def test_a_run_that_was_stopped_ends_in_the_same_bits(run, tmp_path):
    asked = itertools.count()
    cfg = config.parse(VALUES)
    assert not train(cfg, tmp_path / 'run', stop=lambda: next(asked) >= 3).finished
    assert train(cfg, tmp_path / 'run').finished
    ends.assert_same(tmp_path / 'run', run)


@pytest.mark.slow
def test_a_network_of_several_is_the_one_of_its_seed_alone(run, tmp_path):
    alone = config.parse(VALUES | {'seeds': 1, 'seed': 1})
    train(alone, tmp_path / 'alone')
    _, several, _ = checkpoints.restore(run, 6)
    _, one, _ = checkpoints.restore(tmp_path / 'alone', 6)
    for path, leaf in jax.tree.leaves_with_path(one):
        same = several
        for key in path:
            same = same[key.key]
        np.testing.assert_allclose(same[1], leaf[0], rtol=1e-4, atol=1e-5, err_msg=str(path))
    assert not np.allclose(*several['params']['stem']['tokens']['embedding'])


@pytest.mark.parametrize('what', [QUICK, pytest.param(SLOW, marks=pytest.mark.slow)])
def test_it_goes_through_every_measure_and_gamma_depth_says_why_not(what, run):
    settings = effort.Settings(examples=8)
    source = run_subjects.Run(run, settings)
    subject = source.first(source.steps)
    how = effort.of_settings(settings, source.how)
    chosen = selection.choose((*what, 'gamma_depth'), subject, how)
    assert list(chosen.requests) == list(what)
    assert 'the theory has a law for the blocks' in chosen.impossible['gamma_depth']
    assert subject.names.blocks == ('0.attention', '0.mlp', '1.attention', '1.mlp')
    (visit,) = trajectories.follow(source, chosen.requests, how, at=[6])
    found = {name: kept.record for name, kept in visit.found.items()}
    assert not visit.left_out and set(found) == set(what)
    for name, record in found.items():
        columns = [column.value(record) for column in measures.MEASURES[name].columns]
        assert all(np.shape(values) == (2,) for values in columns)
    if 'gammas' in found:
        assert found['gammas'].mean_SLN.shape == (2, 4, 1)
    else:
        np.testing.assert_array_less(found['paths'].closure_S, 1e-4)
    assert 'statistics' not in source.facts(6)
    assert 'statistics' not in source.note([source.facts(6)])


def test_the_text_of_another_python_is_not_gone_on_with(run, tmp_path, monkeypatch):
    again = shutil.copytree(run, tmp_path / 'again')
    load = datasets.load

    def another(data):
        found = load(data)
        source = found.source._replace(digest='0' * 64, note='pydoc_data.topics of Python 3.99')
        return found._replace(source=source)

    monkeypatch.setattr(datasets, 'load', another)
    longer = fields.replace(runs.read_config(run), {'train.steps': 8})
    with pytest.raises(errors.RunError, match=r'Python 3\.99: go on with the text'):
        train(longer, again)


@pytest.mark.slow
@pytest.mark.parametrize(
    'values',
    [
        {'model.block': 'post_ln', 'train.survival': 0.5, 'train.warmup': 2},
        {'train.gammas': 'frozen', 'model.branch_scale': 'norm_sqrt_index'},
        {'train.gammas': 'only', 'model.norm': 'layer_rms', 'model.positions': 'rotary'},
        {'model.norm': 'none', 'model.branch_scale': 'skipinit', 'train.optimizer': 'sgd'},
        {'model.dtype': 'bfloat16', 'train.clip': 1.0, 'train.decay_gammas': 'all'},
        {'train.loss': 'hinge', 'model.branch_scale': 'depth', 'model.zero_init': True},
    ],
)
def test_every_control_trains_and_goes_on(values, tmp_path):
    cfg = config.parse(VALUES | values)
    asked = itertools.count()
    assert not train(cfg, tmp_path / 'run', stop=lambda: next(asked) >= 3).finished
    assert train(cfg, tmp_path / 'run').finished
    _, first, _ = checkpoints.restore(tmp_path / 'run', 0)
    _, last, _ = checkpoints.restore(tmp_path / 'run', 6)
    same = jax.tree.map(lambda a, b: bool((a == b).all()), first, last)
    moves = cfg.train.gammas
    assert all(jax.tree.leaves(same['gammas'])) == (moves == 'frozen')
    assert all(jax.tree.leaves(same['params']['stem'])) == (moves == 'only')
    assert not all(jax.tree.leaves(same['params']['head']['linear']))
    subject = run_subjects.Run(tmp_path / 'run', effort.Settings(examples=4)).subject(6)
    assert len(subject.stacks) == 2

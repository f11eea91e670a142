"""The config: presets fill what is unset, bad values are refused, runs compare by result."""

import pytest

from resnet_dyn import config

DEFAULT = config.Config()


def changed(**values):
    return config.replace(DEFAULT, {name.replace('__', '.'): v for name, v in values.items()})


def test_the_default_is_the_papers_own_run():
    run = config.resolve(config.validate(DEFAULT))
    assert (run.model.depth, run.model.block, run.data.name) == (10, 'paper', 'gaussians')
    assert config.total_steps(run, run.data.train_size) == 20 * (20_000 // 128)


def test_every_field_has_help_and_a_default_in_range():
    leaves = list(config.leaves())
    assert all(leaf.metadata['help'] for leaf in leaves)
    assert len({leaf.path for leaf in leaves}) == len(leaves)
    config.validate(DEFAULT)


@pytest.mark.parametrize('family', config.FAMILIES)
def test_resolve_leaves_nothing_of_the_model_unset(family):
    run = config.resolve(changed(model__family=family))
    unset = {leaf.path for leaf in config.leaves() if config.get(run, leaf.path) is None}
    assert not {path for path in unset if path.startswith('model')} - {'model.width'}
    assert run.train.learning_rate is not None


def test_steps_win_over_epochs():
    run = config.resolve(changed(train__steps=7, train__epochs=3.0))
    assert config.total_steps(run, 20_000) == 7


def test_a_config_is_its_dict():
    run = changed(model__depth=20, model__family='cifar_resnet', data__dir='x')
    assert config.from_dict(config.to_dict(run)) == run
    with pytest.raises(ValueError, match=r"no field 'model\.dept'; did you mean 'model\.depth'"):
        config.from_dict({'model': {'dept': 20}})


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({'data__name': 'cifar01'}, "did you mean 'cifar10'"),
        ({'train__batch_size': 0}, r'must be in \[1, inf\]'),
        ({'train__learning_rate': float('nan')}, 'out of range'),
        ({'seeds': 0}, 'config.seeds=0'),
        ({'seeds': None}, 'config.seeds is unset'),
        (
            {'model__family': 'cifar_resnet', 'data__name': 'cifar10', 'model__depth': 21},
            '20 and 26',
        ),
        ({'model__family': 'cifar_resnet', 'data__name': 'cifar10', 'model__depth': 3}, '8 and 14'),
        (
            {'model__family': 'imagenet_resnet', 'data__name': 'cifar10', 'model__depth': 20},
            '18, 34',
        ),
        ({'model__family': 'cifar_resnet'}, 'gaussians are vectors'),
        (
            {'model__family': 'cifar_resnet', 'data__name': 'digits', 'model__width': 8},
            'multiplier',
        ),
        ({'model__width_multiplier': 2}, 'for cifar_resnet alone'),
        ({'model__norm': 'none', 'model__zero_init': True}, 'has no gammas'),
        ({'data__name': 'npz'}, 'config.data.dir'),
        ({'data__train_size': 100}, 'batch_size=128 is larger than the 100'),
    ],
)
def test_a_run_that_cannot_be_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        config.validate(changed(**values))


def test_runs_differ_by_what_changes_their_result():
    same = changed(data__dir='elsewhere', checkpoint__every=3, log__every=1, model__depth=10)
    assert config.differences(DEFAULT, same) == []
    assert config.differences(DEFAULT, changed(train__steps=10**6)) == []
    lines = config.differences(DEFAULT, changed(model__depth=12, seed=3))
    assert [line.split(':')[0] for line in lines] == ['config.seed', 'config.model.depth']

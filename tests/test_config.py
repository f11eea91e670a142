"""The config: presets fill what is unset, bad values are refused, runs compare by result."""

import pytest

from resnet_dyn import config, errors, fields

DEFAULT = config.parse()


def changed(**values):
    return {name.replace('__', '.'): value for name, value in values.items()}


def test_the_default_is_the_papers_own_run():
    assert (DEFAULT.model.depth, DEFAULT.model.block, DEFAULT.data.name) == (
        10,
        'paper',
        'gaussians',
    )
    assert config.total_steps(DEFAULT, DEFAULT.data.train_size) == 20 * (20_000 // 128)


def test_every_field_has_help_and_a_default_in_range():
    leaves = list(config.leaves())
    assert all(leaf.metadata['help'] for leaf in leaves)
    assert len({leaf.path for leaf in leaves}) == len(leaves)
    for leaf in leaves:
        assert fields.check(leaf, leaf.default) == leaf.default


DATA = dict.fromkeys(config.FAMILIES, 'digits') | {'transformer': 'text'}


@pytest.mark.parametrize('family', config.FAMILIES)
def test_nothing_of_the_model_is_left_unset(family):
    run = config.parse(changed(model__family=family, data__name=DATA[family]))
    unset = {leaf.path for leaf in config.leaves() if fields.get(run, leaf.path) is None}
    assert not {path for path in unset if path.startswith('model')} - {'model.width'}
    assert run.train.learning_rate is not None


def test_a_config_with_unset_fields_cannot_be_made_by_hand():
    with pytest.raises(TypeError, match=r'config\.parse'):
        config.Config()


@pytest.mark.parametrize(
    ('values', 'steps'),
    [
        ({'train__steps': 7, 'train__epochs': 3.0}, 7),
        ({'train__epochs': 0}, 0),
        ({'train__epochs': 1e-6}, 1),
        ({'train__epochs': 1.5}, 234),
    ],
)
def test_steps_win_over_epochs_and_no_epoch_is_no_step(values, steps):
    assert config.total_steps(config.parse(changed(**values)), 20_000) == steps


@pytest.mark.parametrize('family', config.FAMILIES)
def test_a_config_is_its_dict(family):
    run = config.parse(changed(model__family=family, data__name=DATA[family], data__dir='x'))
    assert config.from_dict(config.to_dict(run)) == run
    with pytest.raises(errors.ConfigError, match=r"'model\.dept'; did you mean 'model\.depth'"):
        config.from_dict({'model': {'dept': 20}})


@pytest.mark.parametrize(
    'values',
    [
        {'train': {'decay_gammas': True, 'weight_decay': 0.0}},
        {'train': {'decay_gammas': True, 'weight_decay': 0.1}, 'model': {'norm': 'none'}},
        {'train': {'loss': 'hinge', 'label_smoothing': 0.1}},
        {'data': {'name': 'digits', 'classes': 10}},
        {'train': {'steps': 5, 'warmup': 5}},
        {'train': {'batch_size': 1}},
        {'data': {'train_size': 32}, 'train': {'batch_size': 8}},
    ],
)
def test_a_run_that_an_earlier_version_took_still_opens(values):
    run = config.from_dict(values)
    assert config.from_dict(config.to_dict(run)) == run
    with pytest.raises(errors.ConfigError):
        config.parse(dict(fields.flatten(values)))


def test_a_config_of_an_earlier_version_has_the_new_names():
    assert config.from_dict({'train': {'carry': 'map'}}).train.seed_axis == 'map'


def test_a_config_of_an_earlier_version_decays_the_gammas_that_it_did():
    for old, new in ((False, 'none'), (True, 'all'), ('branch', 'branch')):
        found = config.from_dict({'train': {'decay_gammas': old}})
        assert found.train.decay_gammas == new


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({'data__name': 'cifar01'}, "did you mean 'cifar10'"),
        ({'train__batch_size': 0}, r'must be in \[1, inf\]'),
        ({'train__learning_rate': float('nan')}, 'out of range'),
        ({'seeds': 0}, 'config.seeds=0'),
        ({'seeds': None}, 'config.seeds is unset'),
        ({'seeds': '3'}, "config.seeds='3' is not a whole number"),
        ({'seeds': True}, 'config.seeds=True is not a whole number'),
        ({'model__depth': 10.5}, 'config.model.depth=10.5 is not a whole number'),
        ({'train__nesterov': 'no'}, 'is not true or false'),
        ({'train__learning_rate': '0.1'}, 'is not a number'),
        ({'data__name': 3}, 'is not a word'),
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
        ({'data__augment': True}, 'gaussians are vectors'),
        (
            {'model__family': 'cifar_resnet', 'data__name': 'digits', 'model__width': 8},
            'for fully_connected and transformer alone',
        ),
        ({'model__width_multiplier': 2}, 'for cifar_resnet alone'),
        (
            {'model__norm': 'none', 'model__zero_init': True},
            'for batch and rms and layer and layer_rms alone',
        ),
        (
            {'model__norm': 'none', 'model__gamma': 0.5},
            'for batch and rms and layer and layer_rms alone',
        ),
        ({'data__name': 'npz'}, 'config.data.dir'),
        (
            {'data__train_size': 32, 'train__batch_size': 8},
            'train_size=32 leaves some of the config.data.classes=50 without an example',
        ),
        ({'model__gamma': -2e6}, r'must be in \[-1000000\.0, 1000000\.0\]'),
        ({'data__separation': 1e7}, r'must be in \[0\.0, 1000000\.0\]'),
        ({'train__learning_rate': float('inf')}, 'learning_rate=inf .* must be a finite number'),
        ({'train__learning_rate': 10**400}, 'must be a finite number'),
        ({'train__batch_size': 10**400}, 'must be below 2'),
        ({'data__train_size': 100}, 'batch_size=128 is larger than the 100'),
        ({'train__batch_size': 1}, 'has no statistics that the norm batch could take'),
        ({'train__loss': 'hinge', 'train__label_smoothing': 0.1}, 'for cross_entropy alone'),
        ({'data__name': 'digits', 'data__classes': 10}, 'for gaussians alone'),
        ({'data__name': 'digits', 'data__covariance': 'wishart'}, 'for gaussians alone'),
        ({'train__decay_gammas': 'all'}, r'config\.train\.weight_decay=0'),
        ({'train__decay_gammas': True}, 'decay_gammas=True is not a word'),
        (
            {'train__decay_gammas': 'all', 'train__gammas': 'frozen', 'train__weight_decay': 0.1},
            'for trained and only alone',
        ),
        ({'train__gamma_rate': 2.0, 'train__gammas': 'frozen'}, 'for trained and only alone'),
        ({'train__gamma_rate': 0.0}, r'must be in \(0\.0, 1000000\.0\]'),
        ({'train__gammas': 'frozen', 'model__norm': 'none'}, 'gammas=frozen has no use without'),
        ({'train__gammas': 'only', 'model__norm': 'none'}, 'gammas=only has no use without'),
        ({'train__gamma_rate': 0.1, 'model__norm': 'none'}, 'take the norm batch or rms'),
        (
            {
                'train__decay_gammas': 'all',
                'train__weight_decay': 0.1,
                'model__norm': 'none',
            },
            'decay_gammas=all has no use without',
        ),
        ({'train__survival': 0.0}, r'must be in \(0\.0, 1\.0\]'),
        ({'train__survival': 0.5, 'model__block': 'plain'}, 'survival=0.5 has no use with'),
        ({'data__label_noise': 1.0}, r'must be in \[0\.0, 1\.0\)'),
        ({'train__steps': 20, 'train__warmup': 20}, 'the whole run of 20'),
        ({'train__optimizer': 'adamw', 'train__momentum': 1.0}, 'give less than 1'),
    ],
)
def test_a_run_that_cannot_be_is_refused(values, message):
    with pytest.raises(errors.ConfigError, match=message):
        config.parse(changed(**values))


def test_without_norms_a_batch_may_be_one_example():
    assert config.parse(changed(train__batch_size=1, model__norm='none')).train.batch_size == 1


def test_whole_numbers_serve_as_numbers_and_are_made_floats():
    run = config.parse(changed(train__epochs=4))
    assert run.train.epochs == 4.0 and isinstance(run.train.epochs, float)


def test_runs_differ_by_what_changes_their_result():
    same = changed(data__dir='elsewhere', checkpoint__every=3, log__every=1, model__depth=10)
    assert config.differences(DEFAULT, config.parse(same)) == []
    assert config.differences(DEFAULT, config.parse(changed(train__steps=10**6))) == []
    other = config.parse(changed(model__depth=12, seed=3))
    lines = config.differences(DEFAULT, other)
    assert [line.split(':')[0] for line in lines] == ['config.seed', 'config.model.depth']


def test_a_part_of_a_config_is_filled_in_by_itself():
    assert config.part('model', {'family': 'cifar_resnet'}).block == 'preact'
    assert config.part('data', {'name': 'digits'}).train_size is None
    with pytest.raises(errors.ConfigError, match='20 and 26'):
        config.part('model', {'family': 'cifar_resnet', 'depth': 21})

"""One flag a field, and every flag error a paragraph that says what to write instead."""

import pytest
from absl import flags

from launch import flags as config_flags
from resnet_dyn import config


@pytest.fixture
def parsed():
    """parsed('--config.seeds=3'): the config of these flags; nothing of them stays behind."""

    def parsed(*arguments):
        forget()
        flags.FLAGS(['launch', *arguments])
        return config_flags.config()

    yield parsed
    forget()


def forget():
    flags.FLAGS.unparse_flags()
    for leaf in config.leaves():
        flags.FLAGS[f'config.{leaf.path}'].unparse()


def test_without_flags_the_config_is_the_default(parsed):
    assert parsed() == config.parse()


def test_paths_are_made_absolute_so_that_a_run_goes_on_from_any_folder(parsed, monkeypatch):
    monkeypatch.chdir('/usr')
    monkeypatch.setenv('HOME', '/home/me')
    data = parsed('--config.data.dir=share/x.npz', '--config.data.cache=~/c').data
    assert (data.dir, data.cache) == ('/usr/share/x.npz', '/home/me/c')


def test_every_field_has_a_flag_with_its_help_and_default():
    for leaf in config.leaves():
        flag = flags.FLAGS[f'config.{leaf.path}']
        assert leaf.metadata['help'] in flag.help and flag.default == leaf.default


def test_flags_of_every_type_arrive_in_the_config(parsed):
    found = parsed(
        '--config.seeds=3',
        '--config.data.name=npz',
        '--config.data.dir=/data',
        '--config.data.augment',
        '--noconfig.train.nesterov',
        '--config.train.learning_rate=1e-2',
        '--config.model.depth=12',
        '--config.model.norm=rms',
    )
    changes = {
        'seeds': 3,
        'data.name': 'npz',
        'data.dir': '/data',
        'data.augment': True,
        'train.nesterov': False,
        'train.learning_rate': 0.01,
        'model.depth': 12,
        'model.norm': 'rms',
    }
    assert found == config.parse(changes)


@pytest.mark.parametrize(
    ('argument', 'expected'),
    [
        ('--config.model.dept=20', 'Did you mean: config.model.depth'),
        ('--config.data.name=cifar', "did you mean 'cifar10'"),
        ('--config.model.norm=layer', 'take one of batch, rms, none'),
        ('--config.train.batch_size=0', 'not a positive integer'),
        ('--config.train.momentum=1.5', r'in the range \[0.0, 1.0\]'),
        ('--config.seeds=many', 'many'),
        ('--config.train.learning_rate=nan', 'out of range'),
        ('--config.train.learning_rate=inf', 'must be a finite number'),
        ('--config.train.nesterov=no', 'nesterov=no: it must be true or false$'),
        ('--config.model.width_multiplier=2', 'for cifar_resnet alone'),
    ],
)
def test_a_flag_that_cannot_be_is_refused_with_what_can(parsed, argument, expected):
    with pytest.raises(flags.Error, match=expected):
        parsed(argument)

"""The trainings of `depth_over_training`: for each task a main run and its controls, by name.

Runs of a task share their seeds, so that networks of one seed are pairs, and their length.
"""

from collections.abc import Mapping
from typing import Any

from experiments import study

Values = Mapping[str, Any]

_NO_NORM = {'model.norm': 'none'}
_SKIPINIT = {**_NO_NORM, 'model.branch_scale': 'skipinit'}
_DECAYS = {
    'decay-kernels': 'none',
    'decay-branch': 'branch',
    'decay-other': 'other',
    'decay-all': 'all',
}
_CHECKPOINTS = {'checkpoint.early': True, 'log.tensorboard': False}

_BASES: Mapping[str, Values] = {
    'gaussians': {
        'seeds': 20,
        'train.steps': 300,
        'checkpoint.every': 100,
        'log.every': 100,
        'log.record': 20,
        'log.evaluate': 300,
        **_CHECKPOINTS,
    },
    'digits': {
        'seeds': 10,
        'data.name': 'digits',
        'model.family': 'cifar_resnet',
        'model.depth': 14,
        'train.steps': 80,
        'train.batch_size': 32,
        'train.learning_rate': 0.1,
        'train.weight_decay': 0.0,
        'checkpoint.every': 40,
        'log.every': 40,
        'log.record': 10,
        'log.evaluate': 80,
        **_CHECKPOINTS,
    },
    'cifar10': {
        'seeds': 3,
        'data.name': 'cifar10',
        'data.train_size': 10_000,
        'model.family': 'cifar_resnet',
        'model.depth': 20,
        'train.epochs': 6.0,
        'train.weight_decay': 5e-4,
        'checkpoint.every': 78,
        'log.every': 39,
        'log.record': 39,
        'log.evaluate': 468,
        **_CHECKPOINTS,
    },
}


def _decays(names=tuple(_DECAYS)) -> dict[str, Values]:
    return {
        name: {'train.weight_decay': 5e-4, 'train.decay_gammas': _DECAYS[name]} for name in names
    }


_VARIANTS: Mapping[str, Mapping[str, Values]] = {
    'gaussians': {
        'main': {},
        'frozen': {'train.gammas': 'frozen'},
        'none': {**_NO_NORM, 'train.learning_rate': 3e-4},
        'only': {'train.gammas': 'only'},
        'rms': {'model.norm': 'rms'},
        'preact': {'model.block': 'preact'},
        'postact': {'model.block': 'postact'},
        'plain': {'model.block': 'plain'},
        **_decays(),
        'gamma-rate-10': {'train.gamma_rate': 10.0},
        'gamma-0.5': {'model.gamma': 0.5},
        'gamma-0.1': {'model.gamma': 0.1},
        'gamma-0': {'model.zero_init': True},
        'skipinit': {**_SKIPINIT, 'train.learning_rate': 0.01},
        'sqrt-depth': {'model.branch_scale': 'sqrt_depth'},
        'depth': {'model.branch_scale': 'depth'},
        'sqrt-index': {'model.branch_scale': 'sqrt_index'},
        'survival-0.5': {'train.survival': 0.5},
        'label-noise-0.5': {'data.label_noise': 0.5},
        'rate-0.2': {'train.learning_rate': 0.2},
        'depth-20': {'model.depth': 20},
    },
    'digits': {
        'main': {},
        'frozen': {'train.gammas': 'frozen'},
        'none-skipinit': {**_SKIPINIT, 'train.learning_rate': 0.05},
        'none-fixup': {**_NO_NORM, 'model.branch_scale': 'fixup', 'train.learning_rate': 0.05},
        'rms': {'model.norm': 'rms'},
        **_decays(('decay-kernels', 'decay-all')),
        'survival-0.5': {'train.survival': 0.5},
    },
    'cifar10': {
        'main': {},
        'frozen': {'train.gammas': 'frozen'},
        'none-skipinit': {**_SKIPINIT, 'train.learning_rate': 0.05},
        'decay-all': {'train.decay_gammas': 'all'},
    },
}
TASKS = tuple(_BASES)
FAST_RUNS = 3  # of a task, the first ones
_FAST = {'seeds': 3, 'checkpoint.every': 50, 'log.every': 50, 'log.record': 10, 'log.evaluate': 50}


def study_of(task: str, fast: bool = False, changes: Values | None = None) -> study.Study:
    """The trainings of a task, each named <task>-<control>; `fast`: the first few, shorter.

    `changes` by dotted path are made to all; what makes a control stays its own.
    """
    base, variants = dict(_BASES[task]), dict(_VARIANTS[task])
    if fast:
        base |= _FAST | {'train.steps': 100 if task == 'gaussians' else 50}
        base.pop('train.epochs', None)
        variants = {name: variants[name] for name in list(variants)[:FAST_RUNS]}
    base |= dict(changes or {})
    return study.Study(base, {f'{task}-{name}': own for name, own in variants.items()})

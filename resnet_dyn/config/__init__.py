"""One tree of frozen dataclasses: every default of a run, its help text and its valid range.

Flags are generated from this tree (`launch/flags.py`), a run's `config.json` is this tree, and
no launcher has a default of its own. `parse` alone makes a `Config`, of flags, of JSON or of a
mapping: every field that the preset, the data or the default decides is then filled in, and what
cannot run is refused, before any compute is spent.

The tree stands in `tree`, its fields in `data_fields`, `model_fields` and `train_fields`, what
refuses in `checks`.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from resnet_dyn import fields
from resnet_dyn.config import checks, data_fields, model_fields, tree

FAMILIES, BLOCKS, NORMS = model_fields.FAMILIES, model_fields.BLOCKS, model_fields.NORMS
DATA_NAMES, STREAMED = data_fields.DATA_NAMES, data_fields.STREAMED
IMAGENET_DEPTHS = model_fields.IMAGENET_DEPTHS
OF_TRANSFORMERS = model_fields.OF_TRANSFORMERS
BRANCH_SCALES, TRAINED_SCALES = model_fields.BRANCH_SCALES, model_fields.TRAINED_SCALES
LENGTH = ('train.steps', 'train.epochs')  # of a run, the first before the second

# What stands in a config.json of earlier versions: fields by their old names, and old values.
RENAMED = {'train.carry': 'train.seed_axis'}
RESTATED = {'train.decay_gammas': {False: 'none', True: 'all'}}

Config, Data, Model, Train = tree.Config, tree.Data, tree.Model, tree.Train
check_depth, check_branch_scale = checks.check_depth, checks.check_branch_scale
has_gammas, has_statistics = checks.has_gammas, checks.has_statistics

PRESETS: Mapping[str, Mapping[str, Any]] = {
    'fully_connected': {
        'model.block': 'paper',
        'model.norm': 'batch',
        'train.optimizer': 'sgd',
        'model.depth': 10,
        'model.width': 100,
        'train.epochs': 20.0,
        'train.learning_rate': 0.05,
        'train.weight_decay': 0.0,
    },
    'cifar_resnet': {
        'model.block': 'preact',
        'model.norm': 'batch',
        'train.optimizer': 'sgd',
        'model.depth': 20,
        'train.epochs': 164.0,
        'train.learning_rate': 0.1,
        'train.weight_decay': 1e-4,
    },
    'imagenet_resnet': {
        'model.block': 'postact',
        'model.norm': 'batch',
        'train.optimizer': 'sgd',
        'model.depth': 50,
        'train.epochs': 90.0,
        'train.learning_rate': 0.1,
        'train.weight_decay': 1e-4,
    },
    'transformer': {
        'model.block': 'pre_ln',
        'model.norm': 'layer',
        'model.depth': 6,
        'model.width': 64,
        'train.optimizer': 'adamw',
        'train.epochs': 10.0,
        'train.learning_rate': 3e-3,
        'train.weight_decay': 0.1,
    },
}
AUGMENTED = ('cifar10', 'cifar100', *STREAMED)  # where nothing else is said
GAUSSIANS_SIZES = {'data.train_size': 20_000, 'data.test_size': 5_000}


def leaves():
    """All fields of a run's config in order (`fields.Leaf`)."""
    return fields.leaves(Config)


def parse(values: Mapping[str, Any] | None = None) -> Config:
    """The run that has these values, by dotted path as in {'model.depth': 20}; None is unset.

    Raises ConfigError, saying what to change, for a field that is not there (with the nearest), a
    value of another type or out of range, fields that have no use with the others, and for a run
    that cannot be.
    """
    config = _build(values or {})
    fields.check_use(config, 'config.')
    checks.check_model(config.model)
    checks.check_data(config)
    checks.check_train(config)
    checks.check_gammas(config)
    return config


def part(name: str, values: Mapping[str, Any] | None = None) -> Data | Model | Train:
    """One room of a config by itself, as in part('model', {'depth': 20}), filled in and checked."""
    config = _build({f'{name}.{path}': value for path, value in (values or {}).items()})
    fields.check_use(config, 'config.')
    checks.check_model(config.model)
    return getattr(config, name)


def to_dict(config: Config) -> dict[str, Any]:
    """The tree as nested dicts of plain values: what `config.json` holds."""
    return dataclasses.asdict(config)


def from_dict(values: Mapping[str, Any]) -> Config:
    """The inverse of `to_dict`: of a run that once began, checked value by value like `parse`.

    Fields of earlier versions have their new names and values (`renewed`). What `parse` refuses
    because it is of no use with the rest is taken, since earlier versions took it.
    """
    config = _build(renewed(dict(fields.flatten(values))))
    checks.check_model(config.model)
    checks.check_data(config)
    return config


def renewed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields by dotted path, as any version wrote them, under the names and values of this one."""
    named = {RENAMED.get(path, path): value for path, value in values.items()}
    return {
        path: RESTATED[path][value] if path in RESTATED and isinstance(value, bool) else value
        for path, value in named.items()
    }


def total_steps(config: Config, train_size: int) -> int:
    """The length of a run in steps, `train.steps` if given, else epochs of `train_size`.

    An epoch has floor(train_size / batch_size) steps; the examples left over sit this one out. A
    part of an epoch is at least one step, and no epoch is none.
    """
    train = config.train
    if train.steps is not None:
        return train.steps
    steps = round(train.epochs * (train_size // train.batch_size))
    return max(1, steps) if train.epochs else 0


def decides(path: str) -> bool:
    """Whether a field decides what the networks of a run are at a step.

    Not the neutral ones, and not the length (steps, epochs), which may grow.
    """
    return path not in _neutral() and path not in LENGTH


def deciding(config: Config) -> dict[str, Any]:
    """The fields that decide what the networks of a run are at a step, by path."""
    paths = [leaf.path for leaf in leaves() if decides(leaf.path)]
    return {path: fields.get(config, path) for path in paths}


def differences(old: Config, new: Config) -> list[str]:
    """Fields that differ and change the result: what a resumed run refuses, one line a field.

    The length of the run is left out: `training.runs` compares it.
    """
    before, after = deciding(old), deciding(new)
    return [
        f'config.{path}: the workdir has {before[path]!r}, now {after[path]!r}'
        for path in before
        if before[path] != after[path]
    ]


@functools.cache
def _neutral() -> frozenset[str]:
    return frozenset(leaf.path for leaf in leaves() if leaf.metadata['neutral'])


def _build(values: Mapping[str, Any]) -> Config:
    """The config of values that are right each by itself, all else filled in."""
    given = fields.given(Config, values)
    filled = {leaf.path: leaf.default for leaf in leaves()} | given
    unset = dict(PRESETS[filled['model.family']])
    if filled['data.name'] == 'gaussians':
        unset |= GAUSSIANS_SIZES
    unset['data.augment'] = filled['data.name'] in AUGMENTED
    if filled['train.steps'] is not None:
        unset.pop('train.epochs')
    filled |= {path: value for path, value in unset.items() if filled[path] is None}
    return fields.build(Config, filled)

"""One tree of frozen dataclasses: every default of a run, its help text and its valid range.

Flags are generated from this tree (`launch/flags.py`), a run's `config.json` is this tree, and
no launcher has a default of its own. `parse` alone makes a `Config`, of flags, of JSON or of a
mapping: every field that the preset, the data or the default decides is then filled in, and what
cannot run is refused, before any compute is spent. `None` remains where only the data can tell
(their sizes), where a share of the run is meant (cadences), and for what does not apply.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from resnet_dyn import errors, fields

FAMILIES = ('fully_connected', 'cifar_resnet', 'imagenet_resnet')
BLOCKS = ('preact', 'postact', 'paper', 'plain')
NORMS = ('batch', 'rms', 'none')
BRANCH_SCALES = ('none', 'skipinit', 'sqrt_depth', 'depth', 'sqrt_index', 'fixup')
TRAINED_SCALES = ('skipinit', 'fixup')
TFDS_NAMES = ('cifar10', 'cifar100', 'svhn_cropped', 'fashion_mnist')
DATA_NAMES = ('gaussians', 'digits', 'npz', *TFDS_NAMES)
IMAGENET_DEPTHS = (18, 34, 50, 101, 152)
LENGTH = ('train.steps', 'train.epochs')  # of a run, the first before the second
OF_GAMMAS = ('train.gammas', 'train.gamma_rate', 'train.decay_gammas')

# What stands in a config.json of earlier versions: fields by their old names, and old values.
RENAMED = {'train.carry': 'train.seed_axis'}
RESTATED = {'train.decay_gammas': {False: 'none', True: 'all'}}

_GAUSSIANS = ('data.name', ('gaussians',))
_NORMALISED = ('model.norm', ('batch', 'rms'))
_WITH_SKIPS = ('model.block', ('preact', 'postact', 'paper'))
_MOVING_GAMMAS = ('train.gammas', ('trained', 'only'))
field = fields.field


def preset(text, **metadata):
    """A field that the preset of the family, or the data, fills in where it is unset."""
    return field(None, text, preset=True, **metadata)


@dataclasses.dataclass(frozen=True)
class Data:
    """What the networks are trained on."""

    name: str = field(
        'gaussians',
        'gaussians: the task of the paper, one multivariate Gaussian a class; digits: 8x8, real, '
        'offline; npz: your own images and labels; the others by tensorflow-datasets',
        choices=DATA_NAMES,
    )
    dir: str | None = field(
        None,
        'folder of the prepared tensorflow-datasets data, or the .npz file (arrays train_images, '
        'train_labels, test_images, test_labels)',
        neutral=True,
    )
    cache: str | None = field(
        None,
        'folder for decoded images; unset: $XDG_CACHE_HOME/resnet_dyn or ~/.cache/resnet_dyn',
        neutral=True,
    )
    seed: int = field(0, 'seed of the generated data, the same for all networks', low=0)
    train_size: int | None = field(None, 'training examples; unset: all (gaussians: 20000)', low=2)
    test_size: int | None = field(None, 'test examples; unset: all (gaussians: 5000)', low=1)
    classes: int = field(50, 'gaussians: number of classes', low=2, high=10_000, only=_GAUSSIANS)
    dimension: int = field(
        50, 'gaussians: dimension of the inputs', low=1, high=100_000, only=_GAUSSIANS
    )
    separation: float = field(
        0.4,
        'gaussians: standard deviation of each coordinate of the class means; the noise has 1',
        low=0.0,
        high=1e6,
        only=_GAUSSIANS,
    )
    covariance: str = field(
        'identity',
        'gaussians: covariance of each class; wishart: a random one of its own, of trace dimension',
        choices=('identity', 'wishart'),
        only=_GAUSSIANS,
    )
    label_noise: float = field(
        0.0,
        'share of the training labels that are wrong: of so many examples, drawn by data.seed, '
        'each has one of the other classes at random, the same for all networks. The test labels '
        'are right; an analysis on training examples sees the labels that training saw',
        low=0.0,
        below=1.0,
    )
    augment: bool = preset(
        'pad by 4, crop and flip inside the step; unset: for cifar10, cifar100 alone'
    )


@dataclasses.dataclass(frozen=True)
class Model:
    """Which network."""

    family: str = field('fully_connected', 'family of residual networks', choices=FAMILIES)
    block: str = preset(
        'block kind; unset: paper for fully_connected, preact for cifar_resnet, postact for '
        'imagenet_resnet; plain has no skip',
        choices=BLOCKS,
    )
    norm: str = field(
        'batch',
        'normalisation: batch; rms, uncentred over the batch (eq 20); none',
        choices=NORMS,
    )
    depth: int = preset(
        "fully_connected: the paper's p, the classifier not counted (unset: 10); cifar_resnet: "
        f'6n+2 (unset: 20); imagenet_resnet: one of {IMAGENET_DEPTHS} (unset: 50)',
        low=2,
        high=10_000,
    )
    width: int | None = field(
        None,
        'fully_connected: units a layer (unset: 100)',
        low=1,
        high=100_000,
        only=('model.family', ('fully_connected',)),
    )
    width_multiplier: int = field(
        1,
        'cifar_resnet: multiple of the 16/32/64 channels',
        low=1,
        high=64,
        only=('model.family', ('cifar_resnet',)),
    )
    gamma: float = field(1.0, 'initial value of every gamma', low=-1e6, high=1e6, only=_NORMALISED)
    zero_init: bool = field(False, 'start the last gamma of every branch at 0', only=_NORMALISED)
    branch_scale: str = field(
        'none',
        'what multiplies a branch. Trained, gammas like those of norms: skipinit, one scalar (De & '
        'Smith; ReZero); fixup, one scalar, and the initial weights and biases of Zhang et al., '
        'norm none. Fixed, of L branches l = 1..L: sqrt_depth, 1/sqrt(L); depth, 1/L; sqrt_index, '
        '1/sqrt(l)',
        choices=BRANCH_SCALES,
    )
    branch_scale_init: float = field(
        0.0,
        'initial value of the scalar of every branch',
        low=-1e6,
        high=1e6,
        only=('model.branch_scale', ('skipinit',)),
    )
    dtype: str = field(
        'float32',
        'dtype of the compute; statistics, gammas and parameters stay float32',
        choices=('float32', 'bfloat16'),
    )
    convolution: str = field(
        'auto',
        "whose gradients convolutions take: plain, ours, for XLA:CPU; xla, XLA's own; auto: plain "
        'on the CPU, xla elsewhere. The numbers are the same',
        choices=('auto', 'plain', 'xla'),
        neutral=True,
    )


@dataclasses.dataclass(frozen=True)
class Train:
    """How the networks are trained: SGD with momentum."""

    steps: int | None = field(
        None, 'training steps; wins over epochs; unset: by epochs', low=0, high=10**9
    )
    epochs: float | None = field(
        None, "length in passes over the data; unset: the preset's own", low=0.0, high=1e6
    )
    batch_size: int = field(128, 'examples a step', low=1)
    learning_rate: float = preset(
        'peak rate; unset: 0.05 for fully_connected, 0.1 for the ResNets', low=0.0
    )
    schedule: str = field(
        'cosine',
        'cosine over the length of the run; steps: a tenth at 1/2 and again at 3/4 of it (He et '
        'al.); constant',
        choices=('cosine', 'steps', 'constant'),
    )
    warmup: int = field(0, 'steps of linear warm-up', low=0)
    momentum: float = field(0.9, 'momentum', low=0.0, high=1.0)
    nesterov: bool = field(True, 'Nesterov momentum')
    weight_decay: float = preset(
        'decay of the kernels (not of biases); unset: 0 for fully_connected, 1e-4 for the ResNets',
        low=0.0,
    )
    gammas: str = field(
        'trained',
        'whether gammas move: trained; frozen, each stays at its initial value; only, they and the '
        'classifier alone are trained (Frankle et al. 2020, arXiv:2003.00152), no other weight or '
        'bias. The statistics of the norms are averaged all the same',
        choices=('trained', 'frozen', 'only'),
    )
    gamma_rate: float = field(
        1.0,
        'learning rate of all gammas, as a multiple of the rate',
        above=0.0,
        high=1e6,
        only=_MOVING_GAMMAS,
    )
    decay_gammas: str = field(
        'none',
        'which gammas the weight decay acts on too: none; all; branch, the last one of each branch '
        'alone; other, all but those (Kim et al. 2022, arXiv:2205.07260)',
        choices=('none', 'all', 'branch', 'other'),
        only=_MOVING_GAMMAS,
    )
    survival: float = field(
        1.0,
        'stochastic depth (Huang et al. 2016, arXiv:1603.09382): the share of the batches in which '
        'the last block is there; it falls linearly from 1 at the input, and all blocks are there, '
        'scaled by their share, when a network is evaluated. 1: all are always there',
        above=0.0,
        high=1.0,
        only=_WITH_SKIPS,
    )
    loss: str = field('cross_entropy', 'training loss', choices=('cross_entropy', 'hinge'))
    label_smoothing: float = field(
        0.0,
        'label smoothing of the cross-entropy',
        low=0.0,
        high=1.0,
        only=('train.loss', ('cross_entropy',)),
    )
    seed_axis: str = field(
        'auto',
        'how the networks of a run go through a step: vmap together, map one after the other; '
        'auto: the faster by backend and family (kept in the workdir on resume)',
        choices=('auto', 'vmap', 'map'),
    )


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What is kept of a run."""

    every: int | None = field(
        None,
        'steps between checkpoints, the first of which is step 0; unset: a tenth of the run',
        low=1,
        neutral=True,
    )
    keep: int | None = field(
        None,
        'keep the last N checkpoints, step 0, and the early ones; unset: all',
        low=1,
        neutral=True,
    )
    early: bool = field(
        False,
        'checkpoints also at the steps 1, 2, 4, 8, ... below the first that `every` makes',
        neutral=True,
    )


@dataclasses.dataclass(frozen=True)
class Log:
    """What is said and recorded of a run while it goes."""

    every: int | None = field(
        None, 'steps between training lines; unset: 1/50 of the run', low=1, neutral=True
    )
    record: int | None = field(
        None,
        'steps between records of gammas, weight norms and branch/skip second moments; unset: '
        '1/50 of the run',
        low=1,
        neutral=True,
    )
    evaluate: int | None = field(
        None,
        'steps between evaluations on the test set; unset: a tenth of the run',
        low=1,
        neutral=True,
    )
    tensorboard: bool = field(True, 'write TensorBoard event files', neutral=True)


@dataclasses.dataclass(frozen=True)
class Config:
    """A run: S = `seeds` networks on one data set, network s from the seed `seed + s`."""

    seed: int = field(0, 'seed of the first network', low=0, high=2**31 - 1)
    seeds: int = field(1, 'number of networks trained at once', low=1, high=100_000)
    data: Data = dataclasses.field(default_factory=Data)
    model: Model = dataclasses.field(default_factory=Model)
    train: Train = dataclasses.field(default_factory=Train)
    checkpoint: Checkpoint = dataclasses.field(default_factory=Checkpoint)
    log: Log = dataclasses.field(default_factory=Log)

    def __post_init__(self):
        if self.model.block is None:
            raise TypeError('this config has unset fields: make one by config.parse({...})')


PRESETS: Mapping[str, Mapping[str, Any]] = {
    'fully_connected': {
        'model.block': 'paper',
        'model.depth': 10,
        'model.width': 100,
        'train.epochs': 20.0,
        'train.learning_rate': 0.05,
        'train.weight_decay': 0.0,
    },
    'cifar_resnet': {
        'model.block': 'preact',
        'model.depth': 20,
        'train.epochs': 164.0,
        'train.learning_rate': 0.1,
        'train.weight_decay': 1e-4,
    },
    'imagenet_resnet': {
        'model.block': 'postact',
        'model.depth': 50,
        'train.epochs': 90.0,
        'train.learning_rate': 0.1,
        'train.weight_decay': 1e-4,
    },
}
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
    _check_model(config.model)
    _check_data(config)
    _check_train(config)
    _check_gammas(config)
    return config


def part(name: str, values: Mapping[str, Any] | None = None) -> Data | Model | Train:
    """One room of a config by itself, as in part('model', {'depth': 20}), filled in and checked."""
    config = _build({f'{name}.{path}': value for path, value in (values or {}).items()})
    fields.check_use(config, 'config.')
    _check_model(config.model)
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
    _check_model(config.model)
    _check_data(config)
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
    neutral = {leaf.path for leaf in leaves() if leaf.metadata['neutral']}
    return path not in neutral and path not in LENGTH


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


def has_gammas(model: Model) -> bool:
    """Whether networks have a collection of gammas: scales of norms, trained ones of branches."""
    return model.norm != 'none' or model.branch_scale in TRAINED_SCALES


def check_depth(family: str, depth: int) -> None:
    """ConfigError for a depth that networks of the family cannot have, with those that they can."""
    if family == 'cifar_resnet' and (depth < 8 or (depth - 2) % 6):
        below = max(8, depth - (depth - 2) % 6)
        raise errors.ConfigError(
            f'config.model.depth={depth} is no depth of a cifar_resnet, which is 6n+2: the '
            f'nearest are {below} and {below + 6}'
        )
    if family == 'imagenet_resnet' and depth not in IMAGENET_DEPTHS:
        raise errors.ConfigError(
            f'config.model.depth={depth} is no depth of an imagenet_resnet: take one of '
            f'{", ".join(map(str, IMAGENET_DEPTHS))}'
        )


def check_branch_scale(family: str, block: str, norm: str, branch_scale: str) -> None:
    """ConfigError for a scale that branches of these networks cannot have, with what to take."""
    given = f'config.model.branch_scale={branch_scale}'
    if branch_scale != 'none' and block == 'plain':
        raise errors.ConfigError(
            f'{given} scales a branch beside a skip, and blocks of the kind plain have no skip: '
            'leave it out, or take another config.model.block'
        )
    if branch_scale != 'fixup':
        return
    if norm != 'none':
        raise errors.ConfigError(
            f'{given} stands in for norms, and config.model.norm={norm} is one: take '
            'config.model.norm=none, or config.model.branch_scale=skipinit'
        )
    if family == 'fully_connected':
        raise errors.ConfigError(
            f'{given} scales the first m - 1 layers of a branch by L^(-1/(2m - 2)), and branches '
            'of fully_connected have one layer: take a ResNet (config.model.family=cifar_resnet), '
            'or config.model.branch_scale=skipinit'
        )
    if block == 'paper':
        raise errors.ConfigError(
            f'{given} starts the last weights of a branch at 0, and those of the block paper go '
            'into a ReLU, through which nothing is learnt from 0: take config.model.block=preact '
            'or postact, or config.model.branch_scale=skipinit'
        )


def _build(values: Mapping[str, Any]) -> Config:
    """The config of values that are right each by itself, all else filled in."""
    given = fields.given(Config, values)
    filled = {leaf.path: leaf.default for leaf in leaves()} | given
    unset = dict(PRESETS[filled['model.family']])
    if filled['data.name'] == 'gaussians':
        unset |= GAUSSIANS_SIZES
    unset['data.augment'] = filled['data.name'] in ('cifar10', 'cifar100')
    if filled['train.steps'] is not None:
        unset.pop('train.epochs')
    filled |= {path: value for path, value in unset.items() if filled[path] is None}
    return fields.build(Config, filled)


def _check_model(model: Model) -> None:
    check_depth(model.family, model.depth)
    check_branch_scale(model.family, model.block, model.norm, model.branch_scale)


def _check_data(config: Config) -> None:
    data, train = config.data, config.train
    if data.name == 'gaussians' and config.model.family != 'fully_connected':
        raise errors.ConfigError(
            f'config.model.family={config.model.family} needs images, and gaussians are vectors: '
            'take config.model.family=fully_connected, or images (config.data.name=digits, say)'
        )
    if data.name == 'npz' and data.dir is None:
        raise errors.ConfigError('config.data.name=npz needs config.data.dir=<the .npz file>')
    if data.train_size is not None and train.batch_size > data.train_size:
        raise errors.ConfigError(
            f'config.train.batch_size={train.batch_size} is larger than the {data.train_size} '
            'training examples: lower it, or raise config.data.train_size'
        )


def _check_train(config: Config) -> None:
    """What earlier versions let pass."""
    data, train = config.data, config.train
    if data.name == 'gaussians' and data.train_size < data.classes:
        raise errors.ConfigError(
            f'config.data.train_size={data.train_size} leaves some of the '
            f'config.data.classes={data.classes} without an example: raise the former, or lower '
            'the latter'
        )
    if data.name == 'gaussians' and data.augment:
        raise errors.ConfigError(
            'config.data.augment=True crops and flips images, and gaussians are vectors: leave it '
            'out'
        )
    if config.model.norm != 'none' and train.batch_size < 2:
        raise errors.ConfigError(
            f'config.train.batch_size={train.batch_size} has no statistics that the norm '
            f'{config.model.norm} could take: give at least 2, or take config.model.norm=none'
        )
    if train.decay_gammas != 'none' and not train.weight_decay:
        raise errors.ConfigError(
            f'config.train.decay_gammas={train.decay_gammas} has no use with '
            'config.train.weight_decay=0: give a weight decay, or leave it out'
        )
    if train.steps and train.warmup >= train.steps:
        raise errors.ConfigError(
            f'config.train.warmup={train.warmup} steps are the whole run of {train.steps}, which '
            'would never reach its rate: lower it, or raise config.train.steps'
        )


def _check_gammas(config: Config) -> None:
    """ConfigError for what is said of gammas where the network has none."""
    if has_gammas(config.model):
        return
    for path, default in ((leaf.path, leaf.default) for leaf in leaves()):
        if path in OF_GAMMAS and (value := fields.get(config, path)) != default:
            raise errors.ConfigError(
                f'config.{path}={value} has no use without gammas, and a network of '
                'config.model.norm=none has none: leave it out, or take the norm batch or rms, or '
                'a trained scale of the branches (config.model.branch_scale=skipinit)'
            )

"""One tree of frozen dataclasses: every default of a run, its help text and its valid range.

Flags are generated from this tree (`launch/flags.py`), a run's `config.json` is this tree, and
no launcher has a default of its own. A field that is None means "the preset's own"; `resolve`
fills it in. `validate` refuses what cannot run, before any compute is spent.
"""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

FAMILIES = ('fully_connected', 'cifar_resnet', 'imagenet_resnet')
BLOCKS = ('preact', 'postact', 'paper', 'plain')
NORMS = ('batch', 'rms', 'none')
TFDS_NAMES = ('cifar10', 'cifar100', 'svhn_cropped', 'fashion_mnist')
DATA_NAMES = ('gaussians', 'digits', 'npz', *TFDS_NAMES)
IMAGENET_DEPTHS = (18, 34, 50, 101, 152)


def field(default, text, *, low=None, high=None, choices=None, neutral=False):
    """A dataclass field with its help, its valid range, and whether it leaves the result alone."""
    metadata = {'help': text, 'low': low, 'high': high, 'choices': choices, 'neutral': neutral}
    return dataclasses.field(default=default, metadata=metadata)


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
    classes: int = field(50, 'gaussians: number of classes', low=2, high=10_000)
    dimension: int = field(50, 'gaussians: dimension of the inputs', low=1, high=100_000)
    separation: float = field(
        0.4,
        'gaussians: standard deviation of each coordinate of the class means; the noise has 1',
        low=0.0,
    )
    covariance: str = field(
        'identity',
        'gaussians: covariance of each class; wishart: a random one of its own, of trace dimension',
        choices=('identity', 'wishart'),
    )
    augment: bool | None = field(
        None, 'pad by 4, crop and flip inside the step; unset: for cifar10, cifar100 alone'
    )


@dataclasses.dataclass(frozen=True)
class Model:
    """Which network."""

    family: str = field('fully_connected', 'family of residual networks', choices=FAMILIES)
    block: str | None = field(
        None,
        'block kind; unset: paper for fully_connected, preact for cifar_resnet, postact for '
        'imagenet_resnet; plain has no skip',
        choices=BLOCKS,
    )
    norm: str = field(
        'batch',
        'normalisation: batch; rms, uncentred over the batch (eq 20); none',
        choices=NORMS,
    )
    depth: int | None = field(
        None,
        "fully_connected: the paper's p, the classifier not counted (unset: 10); cifar_resnet: "
        f'6n+2 (unset: 20); imagenet_resnet: one of {IMAGENET_DEPTHS} (unset: 50)',
        low=2,
        high=10_000,
    )
    width: int | None = field(
        None, 'fully_connected: units a layer (unset: 100)', low=1, high=100_000
    )
    width_multiplier: int = field(
        1, 'cifar_resnet: multiple of the 16/32/64 channels', low=1, high=64
    )
    gamma: float = field(1.0, 'initial value of every gamma')
    zero_init: bool = field(False, 'start the last gamma of every branch at 0')
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
    learning_rate: float | None = field(
        None, 'peak rate; unset: 0.05 for fully_connected, 0.1 for the ResNets', low=0.0
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
    weight_decay: float | None = field(
        None,
        'decay of the kernels (not of biases); unset: 0 for fully_connected, 1e-4 for the ResNets',
        low=0.0,
    )
    decay_gammas: bool = field(False, 'decay the gammas too')
    loss: str = field('cross_entropy', 'training loss', choices=('cross_entropy', 'hinge'))
    label_smoothing: float = field(0.0, 'label smoothing of the cross-entropy', low=0.0, high=1.0)
    carry: str = field(
        'auto',
        'how the networks of a run go through a step: vmap together, map one after the other; '
        'auto: the faster by backend and family (kept in the workdir on resume)',
        choices=('auto', 'vmap', 'map'),
    )


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What is kept of a run."""

    every: int | None = field(
        None, 'steps between checkpoints; unset: a tenth of the run', low=1, neutral=True
    )
    keep: int | None = field(None, 'keep the last N checkpoints; unset: all', low=1, neutral=True)


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


class Leaf(typing.NamedTuple):
    """One field of the tree: its dotted path, plain type, whether None is allowed, its metadata."""

    path: str
    type: type
    optional: bool
    default: Any
    metadata: Mapping[str, Any]


def leaves(node: type = Config, prefix: str = '') -> Iterator[Leaf]:
    """All fields of the tree in order, as `Leaf`s."""
    hints = typing.get_type_hints(node)
    for item in dataclasses.fields(node):
        path = f'{prefix}{item.name}'
        if dataclasses.is_dataclass(hints[item.name]):
            yield from leaves(hints[item.name], f'{path}.')
            continue
        plain, optional = _plain_type(hints[item.name])
        yield Leaf(path, plain, optional, item.default, item.metadata)


def get(config: Config, path: str) -> Any:
    """The value at a dotted path, as in `get(config, 'model.depth')`."""
    for name in path.split('.'):
        config = getattr(config, name)
    return config


def replace(config, changes: Mapping[str, Any]):
    """A copy of `config` with the values at dotted paths changed; nothing is checked here."""
    here, below = {}, {}
    for path, value in changes.items():
        name, _, rest = path.partition('.')
        if rest:
            below.setdefault(name, {})[rest] = value
        else:
            here[name] = value
    for name, values in below.items():
        here[name] = replace(getattr(config, name), values)
    return dataclasses.replace(config, **here)


def to_dict(config: Config) -> dict[str, Any]:
    """The tree as nested dicts of plain values: what `config.json` holds."""
    return dataclasses.asdict(config)


def from_dict(values: Mapping[str, Any]) -> Config:
    """The inverse of `to_dict`; a name that the tree lacks raises ValueError with the nearest."""
    known = {leaf.path: leaf for leaf in leaves()}
    flat = dict(_flatten(values))
    for path in flat:
        if path not in known:
            raise ValueError(f'config has no field {path!r}{nearest(path, known)}')
    return replace(Config(), flat)


def resolve(config: Config) -> Config:
    """Fills the unset fields in: the preset's own values, and the sizes of generated data."""
    defaults = dict(PRESETS[config.model.family])
    if config.data.name == 'gaussians':
        defaults |= GAUSSIANS_SIZES
    defaults['data.augment'] = config.data.name in ('cifar10', 'cifar100')
    if config.train.steps is not None:
        defaults.pop('train.epochs')
    return replace(
        config, {path: value for path, value in defaults.items() if get(config, path) is None}
    )


def total_steps(config: Config, train_size: int) -> int:
    """The length of a resolved run in steps, `train.steps` if given, else epochs of `train_size`.

    An epoch has floor(train_size / batch_size) steps; the examples left over sit this one out.
    """
    if config.train.steps is not None:
        return config.train.steps
    return max(1, round(config.train.epochs * (train_size // config.train.batch_size)))


def validate(config: Config) -> Config:
    """Returns `config` if a run of it is possible, else raises ValueError saying what to change."""
    for leaf in leaves():
        _check_leaf(leaf, get(config, leaf.path))
    filled = resolve(config)
    _check_model(config.model, filled.model)
    _check_data(filled)
    return config


def differences(old: Config, new: Config) -> list[str]:
    """Fields that differ and change the result: what a resumed run refuses, one line a field.

    Both are resolved first. Neutral fields and the length of the run (steps, epochs) are left
    out: `training.runs` compares the length, which may grow.
    """
    old, new = resolve(old), resolve(new)
    changed = []
    for leaf in leaves():
        before, after = get(old, leaf.path), get(new, leaf.path)
        length = leaf.path in ('train.steps', 'train.epochs')
        if before != after and not leaf.metadata['neutral'] and not length:
            changed.append(f'config.{leaf.path}: the workdir has {before!r}, now {after!r}')
    return changed


def nearest(name: str, known) -> str:
    """The hint '; did you mean ...?' with the name of `known` that is most alike, or ''."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f'; did you mean {near[0]!r}?' if near else ''


def _check_leaf(leaf: Leaf, value: Any) -> None:
    name, meta = f'config.{leaf.path}', leaf.metadata
    if value is None:
        if not leaf.optional:
            raise ValueError(f'{name} is unset, and it needs a value of type {leaf.type.__name__}')
        return
    if meta['choices'] is not None and value not in meta['choices']:
        hint = nearest(str(value), meta['choices'])
        raise ValueError(f'{name}={value!r} is none of {", ".join(meta["choices"])}{hint}')
    if leaf.type in (int, float):
        low = -math.inf if meta['low'] is None else meta['low']
        high = math.inf if meta['high'] is None else meta['high']
        if not (low <= value <= high and math.isfinite(value)):
            raise ValueError(f'{name}={value!r} is out of range: it must be in [{low}, {high}]')


def _check_model(given: Model, model: Model) -> None:
    if model.family == 'cifar_resnet' and (model.depth - 2) % 6:
        below = max(8, model.depth - (model.depth - 2) % 6)
        raise ValueError(
            f'config.model.depth={model.depth} is no depth of a cifar_resnet, which is 6n+2: the '
            f'nearest are {below} and {below + 6}'
        )
    if model.family == 'imagenet_resnet' and model.depth not in IMAGENET_DEPTHS:
        raise ValueError(
            f'config.model.depth={model.depth} is no depth of an imagenet_resnet: take one of '
            f'{", ".join(map(str, IMAGENET_DEPTHS))}'
        )
    if model.family != 'fully_connected' and given.width is not None:
        raise ValueError(
            f'config.model.width={given.width} is for fully_connected alone; the width of a '
            'cifar_resnet is set by config.model.width_multiplier'
        )
    if model.family != 'cifar_resnet' and given.width_multiplier != 1:
        raise ValueError(
            f'config.model.width_multiplier={given.width_multiplier} is for cifar_resnet alone; '
            'the width of a fully_connected net is config.model.width'
        )
    if model.norm == 'none' and (model.zero_init or model.gamma != 1.0):
        raise ValueError(
            'config.model.norm=none has no gammas: leave config.model.gamma at 1 and '
            'config.model.zero_init off, or take the norm batch or rms'
        )


def _check_data(config: Config) -> None:
    data, train = config.data, config.train
    if data.name == 'gaussians' and config.model.family != 'fully_connected':
        raise ValueError(
            f'config.model.family={config.model.family} needs images, and gaussians are vectors: '
            'take config.model.family=fully_connected, or images (config.data.name=digits, say)'
        )
    if data.name == 'npz' and data.dir is None:
        raise ValueError('config.data.name=npz needs config.data.dir=<the .npz file>')
    if data.train_size is not None and train.batch_size > data.train_size:
        raise ValueError(
            f'config.train.batch_size={train.batch_size} is larger than the {data.train_size} '
            'training examples: lower it, or raise config.data.train_size'
        )


def _plain_type(hint) -> tuple[type, bool]:
    if isinstance(hint, types.UnionType):
        return next(part for part in hint.__args__ if part is not types.NoneType), True
    return hint, False


def _flatten(values: Mapping[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f'{prefix}{name}.')
        else:
            yield f'{prefix}{name}', value

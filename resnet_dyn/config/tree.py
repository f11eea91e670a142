"""The fields of a run: their defaults, help texts, ranges, and what each is of use with.

What a field is filled in with where it is unset, and which runs cannot be, is said beside it:
`config` and `config.checks`. `None` remains where only the data can tell (their sizes), where a
share of the run is meant (cadences), and for what does not apply.
"""

import dataclasses

from resnet_dyn import fields

FAMILIES = ('fully_connected', 'cifar_resnet', 'imagenet_resnet', 'transformer')
BLOCKS = ('preact', 'postact', 'paper', 'plain')
NORMS = ('batch', 'rms', 'none')
OF_TRANSFORMERS = {'block': ('pre_ln', 'post_ln'), 'norm': ('layer', 'layer_rms', 'none')}
BRANCH_SCALES = (
    'none',
    'skipinit',
    'sqrt_depth',
    'depth',
    'sqrt_index',
    'norm_sqrt_index',
    'fixup',
)
TRAINED_SCALES = ('skipinit', 'fixup')
TFDS_NAMES = ('cifar10', 'cifar100', 'svhn_cropped', 'fashion_mnist')
STREAMED = ('imagenet2012', 'image_folder')
DATA_NAMES = ('gaussians', 'digits', 'npz', 'text', *TFDS_NAMES, *STREAMED)
IMAGENET_DEPTHS = (18, 34, 50, 101, 152)

_GAUSSIANS = ('data.name', ('gaussians',))
_STREAMED = ('data.name', STREAMED)
_TEXT = ('data.name', ('text',))
_TRANSFORMER = ('model.family', ('transformer',))
_NORMALISED = ('model.norm', ('batch', 'rms', 'layer', 'layer_rms'))
_WITH_SKIPS = ('model.block', ('preact', 'postact', 'paper', 'pre_ln', 'post_ln'))
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
        "offline; npz: your own images and labels; text: characters, of Python's own documents or "
        'of a file, for the transformer; image_folder: JPEGs, a folder a class; the others by '
        'tensorflow-datasets',
        choices=DATA_NAMES,
    )
    dir: str | None = field(
        None,
        'folder of the prepared tensorflow-datasets data; the .npz file (arrays train_images, '
        'train_labels, test_images, test_labels); of text a file in UTF-8 (unset: the documents of '
        'this Python); of image_folder the one that holds train/CLASS/*.jpg and val/CLASS/*.jpg',
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
    length: int = field(64, 'text: characters of a sequence', low=2, high=100_000, only=_TEXT)
    label_noise: float = field(
        0.0,
        'share of the training labels that are wrong: of so many examples, drawn by data.seed, '
        'each has one of the other classes at random, the same for all networks. The test labels '
        'are right; an analysis on training examples sees the labels that training saw',
        low=0.0,
        below=1.0,
    )
    augment: bool = preset(
        'crop and flip at random: within the step, padded by 4 (unset: for cifar10, cifar100 '
        'alone); of imagenet2012 and image_folder on the host, 0.08 to 1 of the area (unset: yes)'
    )
    image_size: int = field(
        224,
        'imagenet2012, image_folder: height and width that images are made; of the test images '
        'the middle, the shorter side made 256/224 of it',
        low=8,
        high=2048,
        only=_STREAMED,
    )
    workers: int | None = field(
        None,
        'imagenet2012, image_folder: processes that decode images; 0: threads of this one; unset: '
        'the cores less one, at most 16',
        low=0,
        high=1024,
        neutral=True,
        only=_STREAMED,
    )


@dataclasses.dataclass(frozen=True)
class Model:
    """Which network."""

    family: str = field('fully_connected', 'family of residual networks', choices=FAMILIES)
    block: str = preset(
        'block kind; unset: paper for fully_connected, preact for cifar_resnet, postact for '
        'imagenet_resnet, pre_ln for transformer; plain has no skip. Of the transformer alone: '
        'pre_ln, a norm before attention and MLP; post_ln, after the sum',
        choices=(*BLOCKS, *OF_TRANSFORMERS['block']),
    )
    norm: str = preset(
        'normalisation: batch (unset); rms, uncentred over the batch (eq 20); none. Of the '
        'transformer: layer, LayerNorm (unset); layer_rms, RMSNorm of each token; none',
        choices=tuple(dict.fromkeys((*NORMS, *OF_TRANSFORMERS['norm']))),
    )
    depth: int = preset(
        "fully_connected: the paper's p, the classifier not counted (unset: 10); cifar_resnet: "
        f'6n+2 (unset: 20); imagenet_resnet: one of {IMAGENET_DEPTHS} (unset: 50); transformer: '
        'layers, of two blocks each, attention and MLP (unset: 6)',
        low=2,
        high=10_000,
    )
    width: int | None = field(
        None,
        'fully_connected: units a layer (unset: 100); transformer: features of a token (unset: 64)',
        low=1,
        high=100_000,
        only=('model.family', ('fully_connected', 'transformer')),
    )
    width_multiplier: int = field(
        1,
        'cifar_resnet: multiple of the 16/32/64 channels',
        low=1,
        high=64,
        only=('model.family', ('cifar_resnet',)),
    )
    heads: int = field(
        4, 'transformer: heads of the attention', low=1, high=1024, only=_TRANSFORMER
    )
    positions: str = field(
        'learned',
        'transformer: learned, a vector for each place is added to the token; rotary, queries and '
        'keys are turned by their places (Su et al. 2021, arXiv:2104.09864)',
        choices=('learned', 'rotary'),
        only=_TRANSFORMER,
    )
    gamma: float = field(1.0, 'initial value of every gamma', low=-1e6, high=1e6, only=_NORMALISED)
    zero_init: bool = field(False, 'start the last gamma of every branch at 0', only=_NORMALISED)
    branch_scale: str = field(
        'none',
        'what multiplies a branch. Trained, gammas like those of norms: skipinit, one scalar (De & '
        'Smith; ReZero); fixup, one scalar, and the initial weights and biases of Zhang et al., '
        'norm none. Fixed, of L branches l = 1..L: sqrt_depth, 1/sqrt(L); depth, 1/L; sqrt_index, '
        '1/sqrt(l); norm_sqrt_index, of pre_ln: not the branch but the norm that it begins with is '
        'multiplied by 1/sqrt(l), l the layer (LayerNorm scaling, arXiv:2502.05795)',
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
    """How the networks are trained."""

    steps: int | None = field(
        None, 'training steps; wins over epochs; unset: by epochs', low=0, high=10**9
    )
    epochs: float | None = field(
        None, "length in passes over the data; unset: the preset's own", low=0.0, high=1e6
    )
    batch_size: int = field(128, 'examples a step', low=1)
    learning_rate: float = preset(
        'peak rate; unset: 0.05 for fully_connected, 0.1 for the ResNets, 0.003 for transformer',
        low=0.0,
    )
    optimizer: str = preset(
        'sgd, with momentum; adamw (Loshchilov & Hutter 2019, arXiv:1711.05101), whose decay is no '
        'part of the gradient. Unset: sgd, of the transformer adamw',
        choices=('sgd', 'adamw'),
    )
    schedule: str = field(
        'cosine',
        'cosine over the length of the run; steps: a tenth at 1/2 and again at 3/4 of it (He et '
        'al.); thirds: a tenth at 1/3, 2/3 and 8/9 of it, the epochs 30, 60 and 80 of 90 (Goyal et '
        'al. 2017); constant',
        choices=('cosine', 'steps', 'thirds', 'constant'),
    )
    warmup: int = field(0, 'steps of linear warm-up', low=0)
    momentum: float = field(
        0.9, 'momentum; adamw: of the mean of gradients (beta_1)', low=0.0, high=1.0
    )
    nesterov: bool = field(True, 'Nesterov momentum', only=('train.optimizer', ('sgd',)))
    beta_2: float = field(
        0.99,
        'adamw: momentum of the mean of squared gradients',
        low=0.0,
        below=1.0,
        only=('train.optimizer', ('adamw',)),
    )
    clip: float | None = field(
        None,
        'the gradient of a network is scaled to this norm where it is longer; unset: never',
        above=0.0,
    )
    weight_decay: float = preset(
        'decay of the kernels (not of biases); unset: 0 for fully_connected, 1e-4 for the ResNets, '
        '0.1 for transformer',
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
        'alone, a trained scale of the branch where there is one; other, all but those (Kim et al. '
        '2022, arXiv:2205.07260)',
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

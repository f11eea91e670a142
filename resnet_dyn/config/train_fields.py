"""The fields of `config.train`: how the networks are trained."""

import dataclasses

from resnet_dyn import fields

_WITH_SKIPS = ('model.block', ('preact', 'postact', 'paper', 'pre_ln', 'post_ln'))
_MOVING_GAMMAS = ('train.gammas', ('trained', 'only'))
field, preset = fields.field, fields.preset


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

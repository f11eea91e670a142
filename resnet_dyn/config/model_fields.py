"""The fields of `config.model`: which network."""

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
IMAGENET_DEPTHS = (18, 34, 50, 101, 152)

_TRANSFORMER = ('model.family', ('transformer',))
_NORMALISED = ('model.norm', ('batch', 'rms', 'layer', 'layer_rms'))
field, preset = fields.field, fields.preset


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

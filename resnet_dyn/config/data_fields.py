"""The fields of `config.data`: what the networks are trained on."""

import dataclasses

from resnet_dyn import fields

TFDS_NAMES = ('cifar10', 'cifar100', 'svhn_cropped', 'fashion_mnist')
STREAMED = ('imagenet2012', 'image_folder')
DATA_NAMES = ('gaussians', 'digits', 'npz', 'text', *TFDS_NAMES, *STREAMED)

_GAUSSIANS = ('data.name', ('gaussians',))
_STREAMED = ('data.name', STREAMED)
_TEXT = ('data.name', ('text',))
field, preset = fields.field, fields.preset


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

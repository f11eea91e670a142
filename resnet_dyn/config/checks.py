"""Runs that cannot be, or in which a field has no use: refused with what to change.

What a field allows by itself, or beside one other, stands at the field (`fields.check_use`).
"""

from resnet_dyn import errors, fields
from resnet_dyn.config import model_fields, tree

_NO_IMAGES = {'gaussians': 'gaussians are vectors', 'text': 'text has none'}
OF_GAMMAS = ('train.gammas', 'train.gamma_rate', 'train.decay_gammas')


def check_model(model: tree.Model) -> None:
    """ConfigError for a network that there is none of."""
    check_depth(model.family, model.depth)
    _check_family(model)
    if model.family == 'transformer':
        _check_transformer(model)
    check_branch_scale(model.family, model.block, model.norm, model.branch_scale)


def check_depth(family: str, depth: int) -> None:
    """ConfigError for a depth that networks of the family cannot have, with those that they can."""
    if family == 'cifar_resnet' and (depth < 8 or (depth - 2) % 6):
        below = max(8, depth - (depth - 2) % 6)
        raise errors.ConfigError(
            f'config.model.depth={depth} is no depth of a cifar_resnet, which is 6n+2: the '
            f'nearest are {below} and {below + 6}'
        )
    if family == 'imagenet_resnet' and depth not in model_fields.IMAGENET_DEPTHS:
        raise errors.ConfigError(
            f'config.model.depth={depth} is no depth of an imagenet_resnet: take one of '
            f'{", ".join(map(str, model_fields.IMAGENET_DEPTHS))}'
        )


def _check_transformer(model: tree.Model) -> None:
    """ConfigError for attention that cannot be, and for what post_ln cannot be without."""
    width, heads = model.width, model.heads
    if width % heads:
        raise errors.ConfigError(
            f'config.model.width={width} is not divided by config.model.heads={heads}, which share '
            f'it: the nearest that is are {max(1, width // heads) * heads} and '
            f'{(width // heads + 1) * heads}'
        )
    if model.positions == 'rotary' and width // heads % 2:
        raise errors.ConfigError(
            f'config.model.positions=rotary turns pairs of the {width // heads} features of a head '
            f'(config.model.width={width} over config.model.heads={heads}): make them an even '
            'number, or take config.model.positions=learned'
        )
    if (model.block, model.norm) == ('post_ln', 'none'):
        raise errors.ConfigError(
            'config.model.block=post_ln is a norm after the sum, and config.model.norm=none is '
            'none: take config.model.norm=layer, or config.model.block=pre_ln'
        )
    if model.block == 'post_ln' and model.zero_init:
        raise errors.ConfigError(
            'config.model.zero_init=True starts the norms of branches at 0, and those of '
            'config.model.block=post_ln are of the sum: nothing would pass. Leave it out, or take '
            'config.model.block=pre_ln'
        )


def check_branch_scale(family: str, block: str, norm: str, branch_scale: str) -> None:
    """ConfigError for a scale that branches of these networks cannot have, with what to take."""
    given = f'config.model.branch_scale={branch_scale}'
    if branch_scale == 'norm_sqrt_index' and (block != 'pre_ln' or norm == 'none'):
        raise errors.ConfigError(
            f'{given} multiplies the norm that a branch begins with, and here it begins with none '
            f'of its own or has several (config.model.block={block}, config.model.norm={norm}): '
            'take config.model.family=transformer with config.model.block=pre_ln and a norm, or '
            'config.model.branch_scale=sqrt_index, which multiplies the branch'
        )
    if branch_scale == 'fixup' and family == 'transformer':
        raise errors.ConfigError(
            f'{given} is of layers of convolutions, and there is none of its rules for attention: '
            'take config.model.branch_scale=skipinit'
        )
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


def check_data(config: tree.Config) -> None:
    """ConfigError for data that the network cannot take, that no file is named of, or too few."""
    data, train = config.data, config.train
    if (data.name == 'text') != (config.model.family == 'transformer'):
        raise errors.ConfigError(
            f'config.model.family={config.model.family} does not go with config.data.name='
            f'{data.name}: text is for the transformer, and it takes nothing else. Give '
            'config.model.family=transformer and config.data.name=text, or neither'
        )
    if data.name == 'gaussians' and config.model.family != 'fully_connected':
        raise errors.ConfigError(
            f'config.model.family={config.model.family} needs images, and gaussians are vectors: '
            'take config.model.family=fully_connected, or images (config.data.name=digits, say)'
        )
    if data.name == 'npz' and data.dir is None:
        raise errors.ConfigError('config.data.name=npz needs config.data.dir=<the .npz file>')
    if data.name == 'image_folder' and data.dir is None:
        raise errors.ConfigError(
            'config.data.name=image_folder needs config.data.dir=<the folder that holds '
            'train/CLASS/*.jpg and val/CLASS/*.jpg>'
        )
    if data.train_size is not None and train.batch_size > data.train_size:
        raise errors.ConfigError(
            f'config.train.batch_size={train.batch_size} is larger than the {data.train_size} '
            'training examples: lower it, or raise config.data.train_size'
        )


def check_train(config: tree.Config) -> None:
    """ConfigError for a training that cannot be: of what earlier versions let pass."""
    data, train = config.data, config.train
    if data.name == 'gaussians' and data.train_size < data.classes:
        raise errors.ConfigError(
            f'config.data.train_size={data.train_size} leaves some of the '
            f'config.data.classes={data.classes} without an example: raise the former, or lower '
            'the latter'
        )
    if data.name in _NO_IMAGES and data.augment:
        raise errors.ConfigError(
            'config.data.augment=True crops and flips images, and '
            f'{_NO_IMAGES[data.name]}: leave it out'
        )
    if data.name == 'text' and data.label_noise:
        raise errors.ConfigError(
            f'config.data.label_noise={data.label_noise} makes labels of examples wrong, and of '
            'text the labels are its own characters: leave it out'
        )
    if has_statistics(config.model) and train.batch_size < 2:
        raise errors.ConfigError(
            f'config.train.batch_size={train.batch_size} has no statistics that the norm '
            f'{config.model.norm} could take: give at least 2, or take config.model.norm=none'
        )
    if train.decay_gammas != 'none' and not train.weight_decay:
        raise errors.ConfigError(
            f'config.train.decay_gammas={train.decay_gammas} has no use with '
            'config.train.weight_decay=0: give a weight decay, or leave it out'
        )
    if train.optimizer == 'adamw' and train.momentum == 1:
        raise errors.ConfigError(
            f'config.train.momentum={train.momentum} is, with config.train.optimizer=adamw, of a '
            'mean of gradients, which at 1 takes none of them: give less than 1 (0.9)'
        )
    if train.steps and train.warmup >= train.steps:
        raise errors.ConfigError(
            f'config.train.warmup={train.warmup} steps are the whole run of {train.steps}, which '
            'would never reach its rate: lower it, or raise config.train.steps'
        )


def _check_family(model: tree.Model) -> None:
    """ConfigError for a block or a norm that is of another family, with those that it has."""
    ours = {'block': model_fields.BLOCKS, 'norm': model_fields.NORMS}
    if model.family == 'transformer':
        ours = model_fields.OF_TRANSFORMERS
    for name, choices in ours.items():
        if (value := getattr(model, name)) not in choices:
            raise errors.ConfigError(
                f'config.model.{name}={value} is not of config.model.family={model.family}: take '
                f'one of {", ".join(choices)}'
            )


def check_gammas(config: tree.Config) -> None:
    """ConfigError for what is said of gammas where the network has none."""
    if has_gammas(config.model):
        return
    for path, default in ((leaf.path, leaf.default) for leaf in fields.leaves(tree.Config)):
        if path in OF_GAMMAS and (value := fields.get(config, path)) != default:
            raise errors.ConfigError(
                f'config.{path}={value} has no use without gammas, and a network of '
                'config.model.norm=none has none: leave it out, or take the norm batch or rms, or '
                'a trained scale of the branches (config.model.branch_scale=skipinit)'
            )


def has_gammas(model: tree.Model) -> bool:
    """Whether networks have a collection of gammas: scales of norms, trained ones of branches."""
    return model.norm != 'none' or model.branch_scale in model_fields.TRAINED_SCALES


def has_statistics(model: tree.Model) -> bool:
    """Whether norms take statistics of a batch, and average them for when nothing is trained."""
    return model.norm in ('batch', 'rms')

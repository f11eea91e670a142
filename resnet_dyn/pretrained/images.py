"""Images as the reference libraries take them: (B, C, H, W), normalised as in their training.

Mean, standard deviation and size stand in preprocessor_config.json, or in timm's pretrained_cfg.
"""

import numpy as np

from resnet_dyn import errors


def checked(array, mask, channels: int, size: tuple[int, int] | None = None) -> np.ndarray:
    """Images (B, C, H, W) of numbers; PretrainedError for what is none, or of another size."""
    array = np.asarray(array)
    if mask is not None:
        raise errors.PretrainedError(
            'mask: images have no padding to leave out, and this network takes none: leave it out'
        )
    sides = ('H', 'W') if size is None else size
    wanted = f'(B, {channels}, {sides[0]}, {sides[1]})'
    fits = array.ndim == 4 and array.shape[1] == channels
    if not fits or (size is not None and array.shape[2:] != size):
        raise errors.PretrainedError(
            f'images of shape {array.shape}: expected {wanted}, channels before rows, as the '
            'reference library has them; channels that are last are moved by '
            'array.transpose(0, 3, 1, 2)'
        )
    if not np.issubdtype(array.dtype, np.floating):
        raise errors.PretrainedError(
            f'images of dtype {array.dtype}: expected floats, less the mean and over the standard '
            'deviation that the network was trained with (its preprocessor_config.json, or '
            'pretrained_cfg in its config.json, has them)'
        )
    return array


def channels_last(array, mask, channels: int) -> np.ndarray:
    """Images (B, C, H, W), checked, as (B, H, W, C)."""
    return checked(array, mask, channels).transpose(0, 2, 3, 1)

"""Token ids and their padding, as networks of text take them."""

import numpy as np

from resnet_dyn import errors


def inputs(array, mask, vocabulary: int, longest: int | None = None) -> dict[str, np.ndarray]:
    """{'tokens': (B, T) int32, 'mask': (B, T) bool} of token ids and their mask, None: no padding.

    The mask is True or 1 at tokens, as the attention mask of the reference library. Raises
    PretrainedError for what is no token of the vocabulary, is longer than the `longest` that the
    network has positions for, or has a row of padding alone.
    """
    tokens_BT = np.asarray(array)
    if tokens_BT.ndim != 2 or not np.issubdtype(tokens_BT.dtype, np.integer) or not tokens_BT.size:
        raise errors.PretrainedError(
            f'tokens have shape {tokens_BT.shape} and dtype {tokens_BT.dtype}: expected whole '
            'numbers of shape (B, T), one row a text'
        )
    if tokens_BT.min() < 0 or tokens_BT.max() >= vocabulary:
        raise errors.PretrainedError(
            f'tokens go from {tokens_BT.min()} to {tokens_BT.max()}: expected 0 to '
            f'{vocabulary - 1}, the vocabulary of the network. Padding may be any of them, with '
            'mask 0; labels that do not count (-1) are not tokens'
        )
    if longest is not None and tokens_BT.shape[1] > longest:
        raise errors.PretrainedError(
            f'texts of {tokens_BT.shape[1]} tokens: the network has {longest} positions; cut them '
            f'(length={longest} of encode, --length of a command)'
        )
    mask_BT = np.ones(tokens_BT.shape, bool) if mask is None else np.asarray(mask)
    if mask_BT.shape != tokens_BT.shape or not np.isin(mask_BT, (0, 1)).all():
        raise errors.PretrainedError(
            f'the mask has shape {mask_BT.shape} and values {np.unique(mask_BT)[:5]}: expected '
            f'that of the tokens, {tokens_BT.shape}, and 1 (or True) at tokens, 0 at padding'
        )
    if not mask_BT.any(1).all():
        raise errors.PretrainedError(
            f'the mask of text {int(np.argmin(mask_BT.any(1)))} has padding alone: leave it out'
        )
    return {'tokens': tokens_BT.astype(np.int32), 'mask': mask_BT.astype(bool)}

"""Published networks as residual stacks, in one line, without the library that made them.

    opened = pretrained.open('folder')                      # in Hugging Face's layout
    inputs = opened.inputs(token_ids, mask)                 # or images
    outputs = stack.apply(opened.net, inputs, jnp.ones(opened.net.num_blocks))

A folder has config.json, the weights as safetensors (one file, or shards and their index) and, for
text, tokenizer.json. `layouts.LAYOUTS` lists what can be opened, one adapter a `model_type`. What
is not understood is refused before an array is read, never opened half-right; a pickle is never
loaded.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from resnet_dyn import errors
from resnet_dyn.models import stack
from resnet_dyn.pretrained import arrays, layouts, reading, settings


class Opened(NamedTuple):
    """A published network."""

    net: stack.ResidualStack
    tokenizer: Any | None  # a `tokenizers.Tokenizer`; None where the folder has no tokenizer.json
    config: dict  # the folder's config.json as it stands
    names: tuple[str, ...]  # of the blocks, in order: '0.attention', '0.mlp', '1.attention', ...

    def inputs(self, array, mask=None):
        """What `stack.apply(net, inputs, gates)` takes.

        `array` are token ids (B, T), or images in the layout of the reference library; `mask`
        (B, T) is True or 1 at tokens and False or 0 at padding, on either side. Raises
        PretrainedError for what the network cannot take.
        """
        return layouts.find(self.config).inputs(self.config, array, mask)

    def encode(self, texts: Sequence[str], length: int | None = None):
        """Token ids (B, T) int32 and mask (B, T) of texts, padded on the right.

        The folder's tokenizer adds its special tokens. Nothing is cut unless `length` says where,
        special tokens included. Raises PretrainedError where the folder has no tokenizer.
        """
        if self.tokenizer is None:
            raise errors.PretrainedError(
                'the folder that this network was opened from has no tokenizer.json, so texts '
                'cannot be made into tokens: give token ids, or put the tokenizer.json of the '
                'network beside its config.json and open it again'
            )
        self.tokenizer.no_padding()
        if length is None:
            self.tokenizer.no_truncation()
        else:
            self.tokenizer.enable_truncation(length)
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]
        longest = max(map(len, rows), default=0)
        tokens_BT = np.zeros((len(rows), longest), np.int32)
        mask_BT = np.zeros((len(rows), longest), bool)
        for b, row in enumerate(rows):
            tokens_BT[b, : len(row)], mask_BT[b, : len(row)] = row, True
        return tokens_BT, mask_BT


def open(
    folder, blocks: str = 'sublayers', dtype=None, *, ignore: Sequence[str] = (), **options
) -> Opened:
    """The network of a folder, its tokenizer, its config and the names of its blocks.

    `blocks` are 'sublayers' (attention and MLP apart, in the order of the forward pass) or
    'layers' (f(h) = layer(h) - h, the unit of most papers); residual networks of convolutions have
    the same blocks either way. `dtype` None keeps that of the file, else every array is cast while
    it is read. `ignore` are names of config.json that are known to change nothing in the forward
    pass, where this library does not know them; `options` are those of the layout (`parallel` of
    gpt_neox).

    Arrays are read one by one into their places, so that the host's memory holds little more than
    the network. Raises PretrainedError, before an array is read, for whatever is missing, damaged
    or not understood.
    """
    if blocks not in ('sublayers', 'layers'):
        raise errors.PretrainedError(f"blocks={blocks!r}: expected 'sublayers' or 'layers'")
    source = reading.Folder(folder)
    values = settings.Settings(source.config, source.path / 'config.json', ignore)
    adapter = layouts.find(source.config, source.path)
    unknown = sorted(set(options) - set(adapter.options))
    if unknown:
        raise errors.PretrainedError(
            f'{unknown[0]}={options[unknown[0]]!r}: this layout has '
            + (f'the options {", ".join(adapter.options)}' if adapter.options else 'no options')
            + f'; {source.path} is a {layouts.kind(source.config)}'
        )
    layout = adapter.layout(values, blocks, **options)
    values.refuse_unknown()
    tokenizer = reading.tokenizer(source.path)
    net = layout.build(arrays.read(source, layout, dtype))
    return Opened(net, tokenizer, source.config, tuple(layout.names))

"""The table of layouts that can be opened: `model_type` of config.json -> adapter.

A new one is a module with a function layout(settings, blocks) -> `leaves.Layout` and a row here;
docs/pretrained.md says how to write it.
"""

from resnet_dyn import errors
from resnet_dyn.pretrained import bert, gpt2, gpt_neox, llama, resnet, vit
from resnet_dyn.pretrained.leaves import Adapter

LAYOUTS: dict[str, Adapter] = {
    'bert': Adapter(bert.layout, bert.inputs),
    'gpt2': Adapter(gpt2.layout, gpt2.inputs),
    'gpt_neox': Adapter(gpt_neox.layout, gpt_neox.inputs, ('parallel',)),
    'llama': Adapter(llama.layout, llama.inputs),
    'olmo2': Adapter(llama.layout, llama.inputs),
    'qwen2': Adapter(llama.layout, llama.inputs),
    'qwen3': Adapter(llama.layout, llama.inputs),
    'resnet': Adapter(resnet.layout, resnet.inputs),
    **{
        f'resnet{depth}': Adapter(one.layout, one.inputs) for depth, one in resnet.PUBLISHED.items()
    },
    'vit': Adapter(vit.layout, vit.inputs),
}


def kind(config: dict) -> str | None:
    """What a config says that its network is: `model_type`, or timm's `architecture`."""
    return config.get('model_type') or config.get('architecture')


def find(config: dict, folder='the folder') -> Adapter:
    """The adapter of a config; PretrainedError with the list of known ones where there is none."""
    name = kind(config)
    if isinstance(name, str) and name in LAYOUTS:
        return LAYOUTS[name]
    raise errors.PretrainedError(
        f'{folder}: config.json says model_type={name!r}, and the layouts that can be opened are '
        f'{", ".join(sorted(LAYOUTS))}. An adapter for another one takes a page: '
        'docs/pretrained.md, "How to write an adapter"'
    )

"""Makes the goldens of tests/pretrained: what reference libraries answer for tiny networks.

    python tests/parity/goldens.py [--check] [NAME ...]

Each network is made and saved by its own library; its weights are then drawn by name
(`golden_folders.draw`) and the folder is opened by that library, which gives what is expected.
What is stored stays where it is the same to rounding; with --check it stays in any case, and the
exit status is 1 where something differs. Runs in the environment of `make parity`.
"""

import argparse
import json
import pathlib
import re
import shutil
import sys
import tempfile
from collections.abc import Callable

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from torch.autograd import forward_ad

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / 'pretrained'), str(HERE.parent.parent)]

from experiments.benchmarks import torchvision_operators  # noqa: E402, F401

# isort: split
import golden_folders as folders  # noqa: E402
import layouts  # noqa: E402
import timm  # noqa: E402
import torchvision  # noqa: E402
import transformers  # noqa: E402

SAME = 1e-5  # of two runs of the reference, over the largest number expected


def save(layout: layouts.Layout, folder: pathlib.Path) -> None:
    """The folder as the layout's library writes it."""
    if 'architecture' not in layout.config:
        config = layout.kind.config_class(**layout.config)
        layout.kind(config).save_pretrained(folder, max_shard_size=layout.shard_size)
    elif layout.kind is timm.models.ResNet:
        model = timm.create_model(layout.config['architecture'], num_classes=7)
        timm.models.save_for_hf(model, folder, safe_serialization=True)
    else:  # torchvision writes no folders: its weights under their names, and the name beside them
        model = getattr(torchvision.models, layout.config['architecture'])(num_classes=7)
        arrays = {name: value.numpy() for name, value in model.state_dict().items()}
        save_file(arrays, folder / 'model.safetensors', {'format': 'pt'})
        (folder / 'config.json').write_text(json.dumps(layout.config, indent=2) + '\n')


def tensors(folder: pathlib.Path) -> dict[str, dict]:
    """{file: {name: (shape, dtype)}} of all weights of a folder."""
    found = {}
    for path in sorted(folder.glob('*.safetensors')):
        with safe_open(path, 'numpy') as file:
            arrays = {name: file.get_tensor(name) for name in sorted(file.keys())}
        found[path.name] = {n: (list(a.shape), str(a.dtype)) for n, a in arrays.items()}
    return found


def load(layout: layouts.Layout, folder: pathlib.Path) -> torch.nn.Module:
    """The folder opened by the layout's own library."""
    if 'architecture' not in layout.config:
        options = {'dtype': torch.float32, 'attn_implementation': 'eager'}
        model, info = layout.kind.from_pretrained(folder, output_loading_info=True, **options)
        missing = set(info['missing_keys']) - {'lm_head.weight'}
        assert not missing, f'the reference misses {missing}'
        return model.eval()
    library = (
        timm.create_model if layout.kind is timm.models.ResNet else torchvision.models.get_model
    )
    model = library(layout.config['architecture'], num_classes=7)
    with safe_open(folder / 'model.safetensors', 'pt') as file:
        names = list(file.keys())
        model.load_state_dict({name: file.get_tensor(name) for name in names})
    return model.eval()


def inputs(layout: layouts.Layout) -> dict[str, np.ndarray]:
    """Tokens of 3 sequences, one padded on the right and one on the left, or images."""
    if layout.images:
        side = layout.config.get('image_size', 64)
        return {'images': folders.images((2, 3, side, side))}
    random, shape = np.random.RandomState(3), (3, layouts.LENGTH)
    mask = np.ones(shape, bool)
    mask[1, -4:], mask[2, :3] = False, False
    return {'tokens': random.randint(1, layouts.VOCABULARY, shape), 'mask': mask}


def output(model, given, mask=None) -> np.ndarray:
    """Logits, or last hidden states where the model has no head."""
    given = torch.from_numpy(given)
    with torch.no_grad():
        if given.ndim == 2:
            mask = None if mask is None else torch.from_numpy(mask).long()
            found = model(input_ids=given, attention_mask=mask)
        else:
            found = model(given)
    return _tensor(found).numpy()


def _tensor(found) -> torch.Tensor:
    if isinstance(found, torch.Tensor):
        return found
    return found.logits if 'logits' in found else found.last_hidden_state


def blocks(layout: layouts.Layout, model) -> list[list[torch.nn.Module]]:
    """For each block the modules whose outputs it adds to the residual stream."""
    return [
        [layer.get_submodule(name) for name in ends]
        for layer in layout.layers(model)
        for ends in layout.branches
    ]


def gated(layout: layouts.Layout, model, gates, run) -> np.ndarray:
    """run() while hooks multiply what each block adds by its gate."""
    handles = [
        module.register_forward_hook(lambda m, args, out, gate=float(gate): gate * out)
        for gate, modules in zip(gates, blocks(layout, model), strict=True)
        for module in modules
    ]
    try:
        return run()
    finally:
        for handle in handles:
            handle.remove()


def last_state(layout: layouts.Layout, model, run) -> np.ndarray:
    """h_L during run(): what the head is given."""
    seen = []
    handle = model.get_submodule(layout.last).register_forward_pre_hook(
        lambda module, args: seen.append(args[0].numpy())
    )
    run()
    handle.remove()
    return seen[0]


def slopes(layout: layouts.Layout, model, run, head: Callable) -> dict[str, np.ndarray]:
    """The gradient at h_0 of a random projection of run(), and h_L's derivative along h_0 itself.

    head(output) is what is projected; the first is by reverse mode, the second by forward mode.
    """
    first, seen = layout.layers(model)[0], {}

    def enter(module, args):
        seen['h'] = args[0].detach().requires_grad_()
        return (seen['h'], *args[1:])

    def enter_dual(module, args):
        h = args[0].detach()
        return (forward_ad.make_dual(h, h), *args[1:])

    handle = first.register_forward_pre_hook(enter)
    output = head(run())
    handle.remove()
    (output * torch.from_numpy(folders.probe(output.shape))).sum().backward()
    found = {'gradient': seen['h'].grad.numpy()}
    with forward_ad.dual_level():
        handles = [first.register_forward_pre_hook(enter_dual)]
        if layout.last:
            handles.append(
                model.get_submodule(layout.last).register_forward_pre_hook(
                    lambda module, args: seen.update(last=args[0])
                )
            )
        output = head(run())
        last = seen['last'] if layout.last else output
        found['forward'] = forward_ad.unpack_dual(last).tangent.detach().numpy()
        for handle in handles:
            handle.remove()
    return found


def expect(layout: layouts.Layout, model) -> dict[str, np.ndarray]:
    """The inputs and what the reference makes of them."""
    found = inputs(layout)
    given = found['images' if layout.images else 'tokens']
    found['plain'] = output(model, given)
    if 'mask' in found:
        found['masked'] = output(model, given, found['mask'])
    depth = len(blocks(layout, model))
    found['gates'] = (np.random.RandomState(5).permutation(depth) % 3 > 0).astype(np.float32)
    found['gates'][depth // 2] = 0.5
    found['gated'] = gated(layout, model, found['gates'], lambda: output(model, given))
    if layout.last:
        found['last'] = last_state(layout, model, lambda: output(model, given))
    if layout.images:
        del found['images']  # drawn again where they are needed
        found['shape'] = np.array(given.shape)
    if layout.slopes:
        found |= slopes(layout, model, lambda: model(torch.from_numpy(given)), _tensor)
    if found.get('last', np.zeros(0)).ndim == 4:
        found['last'] = found['last'].mean((2, 3))
    return found


def published(layout: layouts.Layout, folder: pathlib.Path) -> dict:
    """How a folder on the Hub has it: its config, and its tensors by what they are drawn from."""
    config = json.loads((folder / 'config.json').read_text())
    for key, value in layout.published.config.items():
        config.pop(key, None)
        if value is not None:
            config[key] = value
    if layout.published.config.get('rope_theta'):
        config['rope_scaling'] = layout.published.config['rope_scaling']
    names = {}
    for stored in (name for part in tensors(folder).values() for name in part):
        name = stored
        for old, new in layout.published.names:
            name = re.sub(old, new, name)
        if name != stored:
            names[stored] = name
    extra = {name: list(spec) for name, spec in layout.published.extra().items()}
    return {'config': config, 'names': names, 'extra': extra}


def differs(found: dict, stored: dict) -> list[str]:
    """The names of what is not the same."""
    wrong = [name for name in found if name not in stored]
    for name, value in found.items():
        scale = np.abs(value).max() if value.size else 0
        if name in stored and not np.allclose(stored[name], value, 0, SAME * scale):
            wrong.append(name)
    return wrong


def changed(name: str, made: pathlib.Path) -> list[str]:
    """What of a golden that was made anew is not what is stored: files, or arrays to rounding."""
    stored = folders.GOLDENS / name
    texts = {path.name for path in (*made.glob('*.json'), *stored.glob('*.json'))}
    wrong = [text for text in sorted(texts) if _text(made / text) != _text(stored / text)]
    if not (stored / 'expected.npz').exists():
        return [*wrong, 'expected.npz']
    return wrong + differs(folders.expected(name, made.parent), folders.expected(name))


def _text(path: pathlib.Path) -> str | None:
    return path.read_text() if path.exists() else None


def make(name: str, target: pathlib.Path) -> pathlib.Path:
    """Writes the golden `name` into target/name, and returns that folder."""
    layout = layouts.LAYOUTS[name]
    target = target / name
    target.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        save(layout, folder)
        (target / 'config.json').write_text((folder / 'config.json').read_text())
        lines = [
            f' {json.dumps(file)}: {{\n'
            + ',\n'.join(f'  {json.dumps(key)}: {json.dumps(spec)}' for key, spec in part.items())
            + '\n }'
            for file, part in tensors(folder).items()
        ]
        (target / 'tensors.json').write_text('{\n' + ',\n'.join(lines) + '\n}\n')
        if layout.published:
            text = json.dumps(published(layout, folder), indent=1)
            (target / 'published.json').write_text(text + '\n')
    found = {}
    for kind in ('saved', 'published') if layout.published else ('saved',):
        with tempfile.TemporaryDirectory() as folder:
            model = load(layout, folders.build(name, folder, kind, target.parent))
            found[kind] = expect(layout, model)
    wrong = differs(found['saved'], found.get('published', found['saved']))
    assert not wrong, f'{name}: as published the reference gives another {wrong}'
    np.savez_compressed(target / 'expected.npz', **found['saved'])
    plain = found['saved']['plain']
    print(f'{name}: output {plain.shape}, mean size {np.abs(plain).mean():.3f}', flush=True)
    return target


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--check', action='store_true', help='compare with what is stored')
    parser.add_argument('names', nargs='*', help='goldens; none: all')
    given = parser.parse_args()
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    different = 0
    for name in given.names or layouts.LAYOUTS:
        with tempfile.TemporaryDirectory() as folder:
            made = make(name, pathlib.Path(folder))
            wrong = changed(name, made)
            if wrong and not given.check:
                shutil.copytree(made, folders.GOLDENS / name, dirs_exist_ok=True)
        if wrong:
            print(f'{name}: not what was stored: {", ".join(wrong)}')
            different += 1
    return int(given.check and different > 0)


if __name__ == '__main__':
    sys.exit(main())

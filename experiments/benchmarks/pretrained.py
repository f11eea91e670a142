"""What does it take to open a published network, and does compiling it grow with its depth?

Command: python -m launch.benchmark --what=pretrained
What: folders in the layouts of GPT-2 (matrices are turned and split while they are read) and Llama
(read straight into place), of 12, 24 and 48 layers, each opened in a process of its own. Host
memory is the highest resident size of that process while it opens, less what it had before, over
the size of the weights' file; XLA has the arrays on a CPU without a copy. Compile time is that of
the forward pass over sublayers, in turn, caches emptied.
Expect: at most 1.3 times the file; 48 layers compile in at most 1.2 times the time of 12.
Wall time: about two minutes on 2 cores.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import timing
from resnet_dyn import pretrained
from resnet_dyn.models import stack
from resnet_dyn.pretrained import layouts, settings

ROUNDS = 5
LAYERS = (12, 24, 48)
WIDTH, NARROW = 512, 32  # of folders that are measured by size, and by time
MEMORY, GROWTH = 1.3, 1.2  # targets
OPEN = """
import sys
import jax
from resnet_dyn import pretrained

def kilobytes(name):
    with open('/proc/self/status') as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name))

jax.device_put(0.0).block_until_ready()
before = kilobytes('VmRSS')
net = pretrained.open(sys.argv[1]).net
jax.block_until_ready(net)
print(before, kilobytes('VmHWM'))
"""


def run(report: Callable[[str], None] = print, rounds: int = ROUNDS) -> dict[str, Any]:
    """Measures, reports line by line; returns ratios of memory and of compile times by layout."""
    found = {'sizes': {'layers': list(LAYERS), 'width': WIDTH}, 'memory': {}, 'compile': {}}
    for kind in ('gpt2', 'llama'):
        found['memory'][kind] = {}
        for layers in LAYERS:
            with tempfile.TemporaryDirectory() as folder:
                size = write(pathlib.Path(folder), config(kind, layers, WIDTH, 50257))
                ratio = memory(folder) / size
            found['memory'][kind][layers] = ratio
            verdict = 'met' if ratio <= MEMORY else 'MISSED'
            report(
                f'{kind}, {layers} layers, a file of {size / 2**20:.0f} MiB: host memory while it '
                f'opens {ratio:.2f} times the file (goal: at most {MEMORY:g}, {verdict})'
            )
        found['compile'][kind] = compile_times(kind, rounds)
        growth = found['compile'][kind]['growth']
        verdict = 'met' if growth.median <= GROWTH else 'MISSED'
        report(
            f'{kind}: {LAYERS[-1]} layers compile in {growth} of the time of {LAYERS[0]} '
            f'(goal: at most {GROWTH:g}, {verdict})'
        )
    return found


def compile_times(kind: str, rounds: int) -> dict[str, Any]:
    """{'seconds': by layers, 'growth': the deepest over the shallowest}, time of the processor."""
    programs = {}
    for layers in LAYERS:
        with tempfile.TemporaryDirectory() as folder:
            write(pathlib.Path(folder), config(kind, layers, NARROW, 97))
            opened = pretrained.open(folder)
        tokens = opened.inputs(np.zeros((2, 16), int))
        given = (opened.net, tokens, jnp.ones(opened.net.num_blocks))
        programs[str(layers)] = lambda given=given: compiled(*given)
    seconds = {name: [] for name in programs}
    for turn in range(rounds + 1):  # the first is not counted
        for name, program in programs.items():
            start = time.process_time()
            program()
            seconds[name] += [time.process_time() - start] * (turn > 0)
    return {
        'seconds': {layers: timing.spread(values) for layers, values in seconds.items()},
        'growth': timing.ratio(seconds[str(LAYERS[-1])], seconds[str(LAYERS[0])]),
    }


def compiled(net, inputs, gates):
    """The forward pass, traced and compiled anew."""
    jax.clear_caches()
    return jax.jit(stack.apply).lower(net, inputs, gates).compile()


def memory(folder) -> int:
    """Bytes that a process grows by, at its highest, while it opens the folder."""
    command = [sys.executable, '-c', OPEN, str(folder)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    before, highest = map(int, out.split())
    return 1024 * (highest - before)


def config(kind: str, layers: int, width: int, vocabulary: int) -> dict[str, Any]:
    """A config of that layout, as wide and as deep."""
    if kind == 'gpt2':
        sizes = {'n_layer': layers, 'n_embd': width, 'n_head': 8, 'n_positions': 64}
        return {'model_type': kind, 'vocab_size': vocabulary, **sizes}
    return {
        'model_type': kind,
        'vocab_size': vocabulary,
        'hidden_size': width,
        'num_hidden_layers': layers,
        'num_attention_heads': 8,
        'num_key_value_heads': 4,
        'intermediate_size': 8 * width // 3,
    }


def write(folder: pathlib.Path, values: dict[str, Any]) -> int:
    """A folder of that config with weights of 0; returns the bytes of its weights' file."""
    (folder / 'config.json').write_text(json.dumps(values))
    adapter = layouts.LAYOUTS[values['model_type']]
    layout = adapter.layout(settings.Settings(values, folder / 'config.json'), 'sublayers')
    entries, end = {}, 0
    for leaf in jax.tree.leaves(layout.leaves):
        for name in leaf.names:
            if name not in entries:
                start, end = end, end + 4 * int(np.prod(leaf.shape))
                at = {'dtype': 'F32', 'shape': leaf.shape, 'data_offsets': [start, end]}
                entries[name] = at
    header = json.dumps(entries).encode()
    header += b' ' * (-len(header) % 8)
    with (folder / 'model.safetensors').open('wb') as file:
        file.write(len(header).to_bytes(8, 'little') + header)
        file.truncate(8 + len(header) + end)
    return 8 + len(header) + end

"""The benchmark of opening published networks: its folders, its ratios, its rows."""

import itertools
import json

import numpy as np
from safetensors.numpy import load_file

from experiments import benchmark_rows
from experiments.benchmarks import pretrained, results
from resnet_dyn import pretrained as room


def test_a_folder_is_a_sound_network_of_its_size(tmp_path):
    size = pretrained.write(tmp_path, pretrained.config('llama', 3, 16, 11))
    assert size == (tmp_path / 'model.safetensors').stat().st_size
    assert room.open(tmp_path).net.num_blocks == 6
    parts = load_file(tmp_path / 'model.safetensors').values()
    assert 0 < size - sum(a.nbytes for a in parts) < 10_000 and not any(map(np.any, parts))


def test_ratios_of_memory_and_of_compile_times_become_rows(monkeypatch, tmp_path):
    sizes, seconds = {12: 100, 24: 200, 48: 400}, itertools.cycle([2.0, 3.0, 2.2])
    opened = []

    def write(folder, values):
        layers = values.get('n_layer') or values['num_hidden_layers']
        (folder / 'layers').write_text(str(layers))
        return sizes[layers]

    def memory(folder):
        with open(f'{folder}/layers') as file:
            opened.append(int(file.read()))
        return 1.5 * sizes[opened[-1]] if opened[-1] == 48 else sizes[opened[-1]]

    def compile_times(kind, rounds):
        times = [[next(seconds) for _ in range(3)] for _ in range(rounds)]
        growth = pretrained.timing.ratio([t[2] for t in times], [t[0] for t in times])
        return {'growth': growth}

    for name, function in {
        'write': write,
        'memory': memory,
        'compile_times': compile_times,
    }.items():
        monkeypatch.setattr(pretrained, name, function)
    said = []
    found = pretrained.run(said.append)
    assert opened == 2 * [12, 24, 48]
    assert 'MISSED' in said[2] and 'met' in said[1] and 'compile in 1.1' in said[3]
    results.write(tmp_path / 'benchmarks', 'pretrained', found, seconds=1.0)
    rows = list(benchmark_rows.pretrained(tmp_path))
    assert [row.number for row in rows[:2]] == ['1; 1; 1.5'] * 2
    assert 'compiles the forward pass, a gpt2 of 48 layers over 12' in rows[2].claim
    assert rows[3].number.startswith('1.1') and '5 rounds' in rows[3].n
    json.dumps(rows)

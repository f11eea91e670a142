"""The README's numbers come from files alone: what is there is written, what is not stays."""

import csv
import json

import numpy as np
import pytest

from experiments import claim_rows, readme, readme_rows
from experiments.benchmarks import results, timing
from resnet_dyn import errors, records
from resnet_dyn.analysis import archive, depth_measures, lesion_curves, orders, path_spectra

DEVICE = {'platform': 'cpu', 'kind': 'cpu', 'count': 1, 'cpu_cores': 2}
OLD = [f'| old claim | 1 | 2 | 3 | 4 <!-- {name} --> |' for name in readme_rows.SOURCES]
CLAIMS = [f'| old claim | 1 | 2 | 3 | 4 <!-- {name} --> |' for name in claim_rows.SOURCES]


@pytest.fixture
def root(tmp_path):
    _write(tmp_path, OLD)
    return tmp_path


def _write(root, rows):
    lines = ['# Title', '']
    for table in readme.TABLES:
        own = rows if table.name == 'numbers' else CLAIMS
        begin, end = table.markers
        lines += [begin, '', *table.head, *own, '', end, '']
    for name in readme.PLANS:
        lines += [f'<!-- {name}: begin -->', f'<!-- {name}: end -->', '']
    text = '\n'.join([*lines, 'The end.', ''])
    (root / 'README.md').write_text(text)


def run(root):
    lines = []
    result = readme.run(root / 'build', report=lines.append, root=root)
    return result, lines, (root / 'README.md').read_text()


@pytest.mark.parametrize('name', ['cifar/config.json', 'theorems/theorems.json'])
def test_a_damaged_file_is_said_and_the_rows_of_its_source_stay(root, name):
    before = (root / 'README.md').read_text()
    (root / 'build' / name).parent.mkdir(parents=True)
    (root / 'build' / name).write_text('{"rows": [')
    _, lines, text = run(root)
    assert text == before
    assert any(f'{name} is damaged' in line for line in lines)


def _rows(text, source):
    return [line for line in text.splitlines() if line.endswith(f'<!-- {source} --> |')]


@pytest.fixture
def benchmark(root, monkeypatch):
    """benchmark('theory', numbers): the file of a benchmark, as its command writes it."""

    def benchmark(what, numbers):
        command = f'/some/python -m launch.benchmark --what={what} --workdir=build/benchmarks'
        provenance = {'device': DEVICE, 'command': command}
        monkeypatch.setattr(records, 'provenance', lambda **_: provenance)
        results.write(root / 'build' / 'benchmarks', what, numbers, seconds=1.0)

    return benchmark


def test_rows_whose_source_is_not_there_stay_and_this_is_said(root):
    before = (root / 'README.md').read_text()
    result, lines, text = run(root)
    assert text == before
    assert result.findings == ()
    assert len(lines) == len(readme.SOURCES)
    assert all('its rows stay as they are' in line for line in lines)


def test_a_source_replaces_its_own_rows_alone_and_a_second_run_changes_nothing(root, benchmark):
    seconds = timing.spread([0.2, 0.1, 0.4])
    benchmark('theory', {'rows': [{'name': name, 'seconds': seconds} for name in 'ab']})
    _, lines, text = run(root)
    assert len(lines) == len(readme.SOURCES) - 1
    assert _rows(text, 'benchmark-theory') == [
        f'| {name}, seconds: median (range) | 0.2 (0.1 to 0.4) | 3 rounds | 2 CPU cores | '
        '`python -m launch.benchmark --what=theory --workdir=build/benchmarks` '
        '<!-- benchmark-theory --> |'
        for name in 'ab'
    ]
    others = [*CLAIMS, *(line for line in OLD if 'benchmark-theory' not in line)]
    assert [line for line in text.splitlines() if 'old claim' in line] == others
    assert run(root)[2] == text


def test_rows_stand_in_the_order_of_their_sources_and_rows_of_none_stay_last(root):
    typed = '| typed by hand | 1 | 2 | 3 | 4 |'
    foreign = '| of another program | 1 | 2 | 3 | 4 <!-- other --> |'
    _write(root, [typed, foreign, *OLD[::-1]])
    _, lines, text = run(root)
    numbers = text.partition('<!-- numbers: begin -->')[2]
    rows = [line for line in numbers.splitlines() if line.startswith('| ')][1:]
    assert rows == [*OLD, typed, foreign]
    assert any('none, other' in line for line in lines)


def test_a_readme_without_the_marks_of_a_table_is_refused_and_left_alone(root):
    (root / 'README.md').write_text('# Title\n')
    with pytest.raises(errors.UserError, match='no table'):
        run(root)
    assert (root / 'README.md').read_text() == '# Title\n'


def test_every_row_of_this_readme_has_a_source_here():
    path = readme.ROOT / 'README.md'
    for table in readme.TABLES:
        _, rows, _ = readme.rows_of(path.read_text(), table, path)
        assert set(rows) <= set(table.sources)
        assert rows or table.name == 'claims'


def test_the_words_of_a_benchmark_are_made_of_the_sizes_that_it_measured(root, benchmark):
    one = {
        'what': 'all sub-networks of ResNet-14 (64 masks, batch 7)',
        'passes': timing.spread([12.0, 10.0, 20.0]),
        'bound': 10.67,
        'over_bound': 1.125,
        'pytorch_over_ours': timing.spread([3.0]),
    }
    growth = {'what': 'ResNet-32 over ResNet-14', 'growth': timing.spread([0.5, 0.6])}
    spectrum = {**one, 'what': 'exact path spectrum of ResNet-32 (batch 5)'}
    benchmark(
        'kernels',
        {'lesions': {'exhaustive': one}, 'spectrum': spectrum, 'compile': {'lesions': growth}},
    )
    train = {
        'sizes': {'depth': 14, 'batch': 7},
        'compile_growth': {'what': 'ResNet-602 over ResNet-14', 'ratio': timing.spread([1.0])},
        'speed_over_pytorch': timing.spread([0.53, 0.51, 0.57]),
    }
    benchmark('train', train)
    _, _, text = run(root)
    kernels, training = (_rows(text, f'benchmark-{what}') for what in ('kernels', 'train'))
    assert [line.split(' | ')[:3] for line in kernels] == [
        [
            '| all sub-networks of ResNet-14 (64 masks, batch 7), forward passes: median (range); '
            'over the bound of 10.7',
            '12 (10 to 20); 1.12',
            '3 rounds',
        ],
        [
            '| exact path spectrum of ResNet-32 (batch 5), VJP passes: median (range); over the '
            'bound of 10.7',
            '12 (10 to 20); 1.12',
            '3 rounds',
        ],
        [
            "| time of PyTorch's loop that skips deleted blocks over ours, all sub-networks of "
            'ResNet-14 (64 masks, batch 7)',
            '3',
            '1 round',
        ],
        [
            '| compile time of lesions, ResNet-32 over ResNet-14: median (range)',
            '0.55 (0.5 to 0.6)',
            '2 rounds',
        ],
    ]
    assert 'compile time of the training step, ResNet-602 over ResNet-14 | 1 | 1 round' in text
    assert 'eager PyTorch, ResNet-14, batch 7: median (range) | 0.53 (0.51 to 0.57)' in training[1]


def test_a_benchmark_of_an_earlier_version_is_said_and_its_rows_stay(root):
    folder = root / 'build' / 'benchmarks'
    folder.mkdir(parents=True)
    earlier = {'numbers': [['log_path_weights', 0.1, 0.2]], 'provenance': {'device': DEVICE}}
    (folder / 'benchmark_theory.json').write_text(json.dumps(earlier))
    before = (root / 'README.md').read_text()
    _, lines, text = run(root)
    assert text == before
    assert any('earlier version' in line and '--what=theory' in line for line in lines)


@pytest.fixture
def analysed(root):
    """analysed('paths', record): the record as an analysis of three of its networks left it."""

    def analysed(name, record, step=7, **settings):
        origin = {
            'device': DEVICE,
            'command': f'python -m launch.analyze --what={name} --steps=last',
            'settings': {'examples': 1234, 'statistics': 'estimated', **settings},
            'effort': ['examples'],
        }
        folder = root / 'build' / 'cifar'
        records.save(archive.path(folder, name, step, origin['settings']), record, origin)

    return analysed


ON = 'at step 7 on 1,234 test examples (norm statistics estimated anew)'


def test_the_ensemble_of_a_run_becomes_rows_with_the_command_of_each_measure(root, analysed):
    spectrum = path_spectra.PathSpectrum(
        step=np.array(7),
        sum_norm_SR=np.ones((2, 3)),
        root_energy_SR=np.sqrt([[4.0, 4.0, 2.0], [6.0, 3.0, 1.0]]),
        energy_se_SR=np.zeros((2, 3)),
        forward_norm_SR=np.ones((2, 3)),
        paths_R=np.array([1.0, 2.0, 1.0]),
        closure_S=np.array([1e-7, 3e-7]),
        probes=np.array(8),
    )
    analysed('paths', spectrum)
    _, lines, text = run(root)
    rows = _rows(text, 'cifar-ensemble')
    assert len(rows) == 2
    assert all('`python -m launch.analyze --what=paths --steps=last`' in row for row in rows)
    assert '(of all paths: 0.75) | 0.85 ± 0.071 | 2 | 2 CPU cores |' in rows[0]
    assert '| 2e-07 ± 1.4e-07 |' in rows[1]
    assert not any(line.startswith('cifar-ensemble') for line in lines)


def test_lesions_say_on_how_many_examples_and_how_many_of_the_blocks_went(root, analysed):
    random = lesion_curves.RandomLesions(
        step=np.array(7),
        deleted_J=np.array([0, 2, 4, 6, 8, 9]),
        loss_SJM=np.ones((3, 6, 2)),
        error_SJM=np.array([0.1, 0.2, 0.4, 0.6, 0.8, 0.9])[:, None]
        * np.array([1.0, 0.5, np.nan])[:, None, None]
        * np.ones(2),
    )
    analysed('random', random)
    analysed('random', random, examples=12)  # a cheaper one beside it
    (row,) = _rows(run(root)[2], 'cifar-ensemble')
    assert row.startswith(
        f'| its error {ON} with 4 of 9 blocks deleted at random, % | 30.0 ± 14 (n = 2) | 3 |'
    )


def test_swaps_say_how_many_orders_they_led_to(root, analysed):
    orders_N = np.array([0.2, 0.4, 0.5])
    reorders = orders.Reorders(
        step=np.array(7),
        full_loss_S=np.ones(1),
        full_error_S=np.ones(1),
        swaps_N=np.array([1, 1, 8]),
        orders_N=np.array([0, 1, 0]),
        kendall_N=np.ones(3),
        loss_SN=np.ones((1, 3)),
        error_SN=orders_N[None],
        possible_orders=np.array(4.0),
    )
    analysed('reorder', reorders, statistics='running')
    (row,) = _rows(run(root)[2], 'cifar-ensemble')
    assert row.startswith(
        '| its error at step 7 on 1,234 test examples (norm statistics as training averaged them) '
        'after random swaps of blocks of equal shape, %: 1 (2 orders); 8 (1 order) | 30.0; 50.0 |'
    )
    alone = reorders._replace(swaps_N=np.ones(3, int))
    analysed('reorder', alone, statistics='running')
    (row,) = _rows(run(root)[2], 'cifar-ensemble')
    assert '%: 1 (3 orders) | 36.7 |' in row


@pytest.fixture
def trained(root):
    """trained(steps): a run of 9 steps that has come so far, one of its networks diverged."""

    def trained(steps):
        folder = root / 'build' / 'cifar'
        folder.mkdir(parents=True)
        model, train = {'depth': 14, 'block': 'preact'}, {'steps': 9, 'epochs': None}
        description = {
            'config': {'model': model, 'train': train, 'seeds': 3},
            'data': {'source': {'name': 'digits', 'note': ''}, 'test_size': 1500},
            'total_steps': 9,
            'device': DEVICE,
            'command': 'python -m launch.train --workdir=build/cifar',
        }
        (folder / 'config.json').write_text(json.dumps(description))
        lines = [
            {'step': 5, 'images_per_second': 900.0},
            {'step': steps, 'test_accuracy': [0.5, None, 0.7]},
            {'step': steps, 'images_per_second': 1100.0},
        ]
        (folder / 'metrics.jsonl').write_text(''.join(f'{json.dumps(line)}\n' for line in lines))

    return trained


def test_a_training_becomes_rows_with_its_sizes_and_without_the_network_that_diverged(
    root, trained
):
    trained(9)
    rows = _rows(run(root)[2], 'cifar')
    assert rows[0].startswith(
        '| test accuracy of ResNet-14 (preact) after 9 steps of digits, %, on 1,500 test images | '
        '60.0 ± 14 (n = 2) | 3 | 2 CPU cores | `python -m launch.train --workdir=build/cifar`'
    )
    assert 'of 3 networks together: median (range) | 1,000 (900 to 1,100) | 2 lines |' in rows[1]


def test_a_training_that_is_not_finished_has_no_rows(root, trained):
    trained(7)
    _, lines, text = run(root)
    assert _rows(text, 'cifar') == [line for line in OLD if 'cifar -->' in line]
    assert any('is not finished' in line for line in lines)


def _depth(step):
    """Two networks of two blocks whose gains are `step`."""
    return depth_measures.from_gains(step, np.full((2, 2), float(step)))


def _singles(step):
    arrays = {'step': np.array(step), 'full_error_S': np.array([0.1, 0.3])}
    others = dict.fromkeys(lesion_curves.SingleLesions._fields, np.full((2, 2), 0.5))
    return lesion_curves.SingleLesions(**others | arrays)


def test_depth_over_training_is_from_step_0_to_the_end_both_measured_alike(root, trained, analysed):
    trained(9)
    analysed('singles', _singles(9), step=9)

    def said():
        _, lines, text = run(root)
        rows = _rows(text, 'cifar-over-training')
        return rows, [line for line in lines if line.startswith('cifar-over-training: ')]

    old = [line for line in OLD if 'cifar-over-training' in line]
    analysed('depth', _depth(9), step=9)
    rows, (line,) = said()
    assert rows == old and 'no record of depth at step 0' in line and '--steps=0,9' in line
    analysed('depth', _depth(0), step=0, examples=64)
    rows, (line,) = said()
    assert rows == old and 'examples 64 and 1234' in line and '--steps=0,9' in line
    analysed('depth', _depth(0), step=0, checkpoint='another')
    analysed('depth', _depth(5), step=5, examples=64)
    (depth, singles), lines = said()
    assert not lines
    # E[r] of p = 3: the stem alone without gains; each block in with probability 81 / 82
    assert 'of at most 3 (incoherent) on 1,234 test examples' in depth
    assert f'| {1:.3g} ± 0 → {1 + 2 * 81 / 82:.3g} ± 0 |' in depth
    assert singles.startswith('| its error at step 9 on 1,234 test examples')
    analysed('depth', _depth(7), step=7)
    (root / 'build' / 'cifar' / 'config.json').write_text('{"total_steps": 20}')
    rows, (line,) = said()
    assert rows == [depth, singles] and 'no record of depth at step 20' in line


def _no_figure1(path):
    records.save(path, _depth(0), {'device': DEVICE, 'command': 'python'})


@pytest.mark.parametrize(
    'source, name, content',
    [
        ('figure1', 'figure1/figure1.npz', _no_figure1),
        ('figure1', 'figure1/figure1.npz', None),
        ('cifar', 'cifar/config.json', '[]'),
        ('cifar', 'cifar/config.json', None),
        ('benchmark-train', 'benchmarks/benchmark_train.json', '{}'),
        ('benchmark-train', 'benchmarks/benchmark_train.json', 'numbers'),
        ('benchmark-kernels', 'benchmarks/benchmark_kernels.json', 'numbers'),
        ('benchmark-theory', 'benchmarks/benchmark_theory.json', 'numbers'),
        ('benchmark-theory', 'benchmarks/benchmark_theory.json', None),
        ('theorems', 'theorems/theorems.json', '{}'),
        ('theorems', 'theorems/theorems.json', '[]'),
        ('theorems', 'theorems/theorems.json', '{"rows": [1], "provenance": {}}'),
        ('theorems', 'theorems/theorems.json', None),
    ],
)
def test_a_source_that_holds_something_else_is_said_and_all_rows_stay(root, source, name, content):
    before, path = (root / 'README.md').read_text(), root / 'build' / name
    path.parent.mkdir(parents=True)
    if content is None:
        path.mkdir()
    elif callable(content):
        content(path)
    else:
        numbers = f'{{"format": {results.FORMAT}, "numbers": {{}}, "provenance": {{}}}}'
        path.write_text(numbers if content == 'numbers' else content)
    _, lines, text = run(root)
    assert text == before and len(lines) == len(readme.SOURCES)
    (line,) = [line for line in lines if line.startswith(f'{source}: ')]
    assert 'its rows stay as they are' in line and 'does not exist' not in line


def test_pictures_are_copied_to_docs(root):
    source = root / 'build' / 'figure1' / 'figure1.png'
    source.parent.mkdir(parents=True)
    source.write_bytes(b'picture')
    run(root)
    assert (root / 'docs' / 'figure1.png').read_bytes() == b'picture'


LINE = {
    'claim': 'depth-grows',
    'task': 'digits',
    'verdict': 'depends on the measure',
    'run': 'digits-main',
    'title': 'change of k predicted from power gains, incoherent',
    'estimate': '0.51234',
    'low': '0.25',
    'high': '0.775',
    'n': '10',
    'outcome': 'holds',
}


def _claims(root, folder, *lines):
    path = root / 'build' / folder / 'claims.csv'
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, 'w', newline='') as file:
        writer = csv.DictWriter(file, LINE)
        writer.writeheader()
        writer.writerows(LINE | line for line in lines)


def test_claims_become_rows_a_task_with_the_counts_of_outcomes_and_two_intervals(root):
    one = {'claim': 'gammas-grow', 'verdict': 'fails', 'outcome': 'fails', 'estimate': '-0.2'}
    _claims(
        root,
        'dynamics',
        one | {'low': '-0.3', 'high': '-0.1'},
        {},
        {'title': 'change of order of interaction', 'outcome': 'undecided'},
        {'title': 'k of the gradient by energies S_k', 'outcome': 'fails', 'estimate': '-3'},
        {'title': 'change of k in top-5', 'outcome': 'not measured', 'n': '0', 'low': 'nan'},
    )
    _, lines, text = run(root)
    grow, depth = sorted(_rows(text, 'claims-digits'), key=len)
    assert [line for line in lines if line.startswith('claims-digits')] == []
    command = '`python -m launch.dynamics --workdir=build/dynamics` <!-- claims-digits --> |'
    assert grow == f'| Gammas grow in training | digits | fails | -0.2 [-0.3, -0.1], 10 | {command}'
    assert depth == (
        '| Depth grows in training | digits | depends on the measure (1 holds, 1 fails, '
        '1 undecided) | power gains: +0.512 [+0.25, +0.775], 10; gradient: -3 [+0.25, +0.775], 10 '
        f'| {command}'
    )
    assert _rows(text, 'claims-gaussians') == [CLAIMS[0]]
    assert any(
        'claims-gaussians: ' in line and 'no claim about gaussians' in line for line in lines
    )


@pytest.mark.parametrize('text', ['', 'claim,task\ndepth-grows,cifar10\n'])
def test_claims_of_another_version_are_said_and_their_rows_stay(root, text):
    path = root / 'build' / 'dynamics_cifar' / 'claims.csv'
    path.parent.mkdir(parents=True)
    path.write_text(text)
    before = (root / 'README.md').read_text()
    _, lines, after = run(root)
    assert after == before
    (line,) = [line for line in lines if line.startswith('claims-cifar10: ')]
    assert '--data=cifar10' in line and 'its rows stay' in line


def test_what_a_plan_printed_is_put_between_its_markers_once(root):
    file = root / 'build' / 'plan_resnet20' / 'plan.txt'
    file.parent.mkdir(parents=True)
    file.write_text('$ python -m launch.plan\n\nfits\n')
    _, _, text = run(root)
    shown = '```text\n$ python -m launch.plan\n\nfits\n```'
    assert f'<!-- plan_resnet20: begin -->\n\n{shown}\n\n<!-- plan_resnet20: end -->' in text
    file.write_text('other\n')
    _, _, again = run(root)
    assert again.count('```') == 2 and 'other' in again and 'fits' not in again

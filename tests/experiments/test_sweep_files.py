"""The file of a sweep: which runs it makes, under which names, and what it may not say."""

import itertools

import pytest

from experiments.sweeps import files, members
from resnet_dyn import config, errors

DEPTHS = '"config.model.depth" = [4, 5]\n'
SEEDS = '"config.seed" = [0, 1, 2]\n'


@pytest.fixture
def rows(tmp_path):
    """rows(text): the runs of a file with this text."""

    def rows(text):
        file = tmp_path / 'sweep.toml'
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return files.read(file)

    return rows


def test_a_grid_is_all_combinations_and_a_list_goes_side_by_side(rows):
    found = rows(f'[grid]\n{DEPTHS}{SEEDS}')
    assert found == [
        {'model.depth': depth, 'seed': seed} for depth, seed in itertools.product((4, 5), range(3))
    ]
    found = rows(f'[list]\n{DEPTHS}"config.train.learning_rate" = [1, 0.5]\n')
    assert found == [
        {'model.depth': 4, 'train.learning_rate': 1.0},
        {'model.depth': 5, 'train.learning_rate': 0.5},
    ]
    assert isinstance(found[0]['train.learning_rate'], float)


@pytest.mark.parametrize(
    'text, said',
    [
        (f'[grid]\n{DEPTHS}[list]\n{SEEDS}', 'both [grid] and [list]: keep one'),
        ('', 'neither [grid] nor [list]: it needs one'),
        (f'[grids]\n{DEPTHS}', "the table [grids], .*in quotes, .*; did you mean 'grid'?"),
        (DEPTHS, "'config.model.depth' outside of a table: write [grid] or [list] above"),
        ('[grid]\n', '[grid] is empty'),
        (f'[[grid]]\n{DEPTHS}', 'grid is no table'),
        (f'[list]\n{DEPTHS}{SEEDS}', 'config.model.depth 2, config.seed 3 values'),
        ('[grid]\n"config.model.depth" = 4\n', 'is no list: write [4].*--config.model.depth=4'),
        ('[grid]\n"config.data.augment" = true\n', '= true is no list: write [true]'),
        ('[grid]\n"config.model.depth" = []\n', 'has no value'),
        ('[grid]\nconfig.model.depth = [4]\n', 'has no quotes.*write "config.model.depth" = '),
        ('[grid.config.model]\ndepth = [4]\n', 'config.model.depth has no quotes'),
        ('[grid]\n"config.model.dept" = [4]\n', "did you mean 'config.model.depth'?"),
        ('[grid]\n"model.depth" = [4]\n', "did you mean 'config.model.depth'?"),
        ('[grid]\n"--config.model.depth" = [4]\n', "'config.model.depth'? (keys have no dashes)"),
        ('[grid]\n"workdir" = ["a"]\n', '--workdir of a field of the config'),
        ('[grid]\n"config.model.depth" = ["4"]\n', "config.model.depth='4' is not a whole number"),
        ('[grid]\n"config.model.depth" = [4, 5.5]\n', '5.5 is not a whole number'),
        ('[grid]\n"config.model.depth" = [[4, 5]]\n', '[4, 5] is not a whole number'),
        ('[grid]\n"config.model.norm" = ["bach"]\n', "did you mean 'batch'?"),
        ('[grid]\n"config.train.learning_rate" = [nan]\n', 'must be a finite number'),
        ('[grid]\n"config.model.norm" = [1979-05-27]\n', 'is not a word'),
        ('[grid]\n"config.model.depth" = [4\n', 'is no TOML (TOMLDecodeError: '),
        (b'[grid]\n"\xff" = [4]\n', 'is no TOML (UnicodeDecodeError: '),
        (
            '[grid]\n'
            + ''.join(
                f'"config.{path}" = {list(range(2, 40))}\n'
                for path in ('seed', 'data.seed', 'model.depth')
            ),
            'the grid has 54,872 runs, and a sweep has at most 10,000',
        ),
    ],
)
def test_what_is_no_sweep_is_refused_with_what_to_write(rows, text, said):
    with pytest.raises(errors.ConfigError) as refused:
        rows(text)
    assert 'sweep.toml' in str(refused.value) and '\n' not in str(refused.value)
    at = 0
    for part in said.split('.*'):
        assert part in str(refused.value)[at:]
        at = str(refused.value).index(part, at)


def test_a_file_that_is_not_there_is_said(tmp_path):
    for path, said in ((tmp_path / 'none.toml', 'there is no file'), (tmp_path, 'cannot be read')):
        with pytest.raises(errors.ConfigError, match=said):
            files.read(path)


def names(workdir, rows, **base):
    return [one.name for one in members.make(workdir, base, rows)]


def test_runs_are_named_by_what_differs_and_a_hash(rows, tmp_path):
    found = members.make(tmp_path, {'seeds': 2, 'seed': 9}, rows(f'[grid]\n{DEPTHS}{SEEDS}'))
    first, *_, last = found
    assert first.name.startswith('depth=4,seed=0-') and last.name.startswith('depth=5,seed=2-')
    assert last.config == config.parse({'seeds': 2, 'model.depth': 5, 'seed': 2})
    assert last.workdir == tmp_path / last.name
    assert last.flags == ['--config.seeds=2', '--config.seed=2', '--config.model.depth=5']
    assert len({one.name.rpartition('-')[2] for one in found}) == 6
    texts = rows('[list]\n"config.data.dir" = ["/a/x y.npz", "/b/x y.npz"]\n')
    one, other = names(tmp_path, texts, **{'data.name': 'npz'})
    assert one.startswith('dir=x_y.npz-') and other.startswith('dir=x_y.npz-') and one != other
    (alone,) = names(tmp_path, rows('[grid]\n"config.seed" = [3]\n'))
    assert alone.startswith('run-')
    both = rows('[list]\n"config.data.seed" = [0, 1]\n"config.log.every" = [1, 2]\n')
    assert names(tmp_path, both)[1].startswith('data.seed=1,log.every=2-')


def test_a_run_keeps_its_folder_when_the_file_grows(rows, tmp_path):
    before = names(tmp_path, rows(f'[grid]\n{DEPTHS}'))
    for name in before:
        (tmp_path / name).mkdir()
    grown = rows('[grid]\n"config.model.depth" = [3, 4, 5]\n"config.seed" = [0, 1]\n')
    after = names(tmp_path, grown)
    assert [after[2], after[4]] == before and after[3].startswith('depth=4,seed=1-')
    longer = names(tmp_path, rows(f'[grid]\n{DEPTHS}'), **{'train.steps': 7, 'log.every': 2})
    assert longer == before  # a run may be made longer
    assert not set(names(tmp_path, rows(f'[grid]\n{DEPTHS}'), seeds=2)) & set(before)


def test_lengths_that_the_file_varies_are_runs_of_their_own(rows, tmp_path):
    found = names(tmp_path, rows('[grid]\n"config.train.steps" = [10, 20]\n'))
    assert [name.partition('-')[0] for name in found] == ['steps=10', 'steps=20']
    assert len({name.rpartition('-')[2] for name in found}) == 2


def test_a_new_field_of_the_config_renames_no_run(rows, tmp_path, monkeypatch):
    text = f'[grid]\n{DEPTHS}'
    before, deciding = names(tmp_path, rows(text)), config.deciding
    monkeypatch.setattr(
        config,
        'deciding',
        lambda cfg: {k: v for k, v in deciding(cfg).items() if k != 'train.loss'},
    )
    assert names(tmp_path, rows(text)) == before


def test_runs_that_cannot_be_or_are_one_are_refused_by_what_they_are(rows, tmp_path):
    wrong = rows('[grid]\n"config.model.norm" = ["none"]\n"config.train.gamma_rate" = [2.0]\n')
    with pytest.raises(errors.ConfigError, match=r'norm=none, config.train.gamma_rate=2.0: '):
        members.make(tmp_path, {}, wrong)
    with pytest.raises(errors.ConfigError, match=r'the same, config.seed=1 and config.seed=1'):
        members.make(tmp_path, {}, rows('[list]\n"config.seed" = [1, 1]\n'))

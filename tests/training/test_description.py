"""config.json says all of a run and of every start; edited or damaged, it is refused by field."""

import json
import shlex
import sys

import pytest

from resnet_dyn import config, errors
from resnet_dyn.training import description, recorder

CONFIG = config.parse(
    {
        'seeds': 2,
        'model.depth': 4,
        'train.steps': 20,
        'train.batch_size': 8,
        'data.train_size': 40,
        'data.classes': 5,
    }
)


@pytest.fixture
def said(tmp_path, dataset):
    """What stands in the config.json of a new run, to be changed and written back by `put`."""
    description.write(tmp_path, CONFIG, (0, 20), dataset, None)
    return json.loads((tmp_path / 'config.json').read_text())


def put(workdir, said):
    (workdir / 'config.json').write_text(said if isinstance(said, str) else json.dumps(said))


def test_a_new_run_says_all(tmp_path, dataset, said):
    assert said['config'] == config.to_dict(CONFIG)
    assert said['config']['model']['block'] == 'paper'
    assert said['total_steps'] == 20
    assert said['code']['version'] and said['device']['platform'] == 'cpu'
    assert shlex.split(said['command']) == sys.orig_argv
    assert said['data']['source']['digest'] == dataset.source.digest
    (segment,) = said['segments']
    assert segment['steps'] == [0, 20]
    for name in ('config', 'code', 'device', 'command', 'date'):
        assert segment[name] == said[name]
    found = description.read(tmp_path)
    assert (found.config, found.total_steps, found.data) == (CONFIG, 20, said['data'])


def test_every_start_is_a_segment_and_the_plans_of_all_are_kept(tmp_path, dataset, said):
    longer = config.parse({**dict(_leaves(CONFIG)), 'train.steps': 30})
    description.write(tmp_path, CONFIG, (12, 20), dataset, description.read(tmp_path))
    description.write(tmp_path, longer, (20, 30), dataset, description.read(tmp_path))
    found = description.read(tmp_path)
    segments = found.everything['segments']
    assert [entry['steps'] for entry in segments] == [[0, 20], [12, 20], [20, 30]]
    assert [entry['config']['train']['steps'] for entry in segments] == [20, 20, 30]
    assert (found.config, found.total_steps) == (longer, 30)
    assert found.everything['date'] == said['date']


def test_early_checkpoints_stay_whatever_the_cadence_of_a_later_start_is(tmp_path, dataset):
    def start(first, planned, **changes):
        before, values = description.read(tmp_path), dict(_leaves(CONFIG))
        values |= {'train.steps': planned} | {f'checkpoint.{k}': v for k, v in changes.items()}
        description.write(tmp_path, config.parse(values), (first, planned), dataset, before)
        return early_steps(tmp_path)

    def early_steps(workdir):
        return recorder.early_steps(description.starts(description.read(workdir)))

    assert early_steps(tmp_path) == set()
    assert start(0, 20, early=True, every=20) == {1, 2, 4, 8, 16}
    assert start(9, 20, early=False, keep=1) == {1, 2, 4, 8}  # 16 is none of its own
    assert start(12, 20, early=True, every=3, keep=1) == {1, 2, 4, 8}
    assert start(0, 40, early=True) == {1, 2}  # anew: a tenth of the run is 4
    found = json.loads((tmp_path / 'config.json').read_text())
    found['segments'][-1]['config']['checkpoint']['early'] = 'no word'
    found['segments'].append({'steps': [0, 40], 'config': 'none'})
    put(tmp_path, found)
    assert early_steps(tmp_path) == {1, 2, 4, 8}  # they say nothing
    put(tmp_path, {name: value for name, value in found.items() if name != 'segments'})
    assert early_steps(tmp_path) == {1, 2}  # a run of an earlier version had one start


def _leaves(cfg):
    from resnet_dyn import fields

    return [(leaf.path, fields.get(cfg, leaf.path)) for leaf in config.leaves()]


def test_a_run_without_segments_opens_and_its_first_start_becomes_one(tmp_path, dataset, said):
    segments = said.pop('segments')
    put(tmp_path, said)
    found = description.read(tmp_path)
    assert found.config == CONFIG
    description.write(tmp_path, CONFIG, (12, 20), dataset, found)
    again = description.read(tmp_path).everything['segments']
    assert again[0] == segments[0] and again[1]['steps'] == [12, 20]


def test_no_file_is_no_run_and_another_file_is_seen_without_reading_it(tmp_path, dataset):
    assert description.read(tmp_path) is None
    assert description.unchanged(tmp_path, None)
    description.write(tmp_path, CONFIG, (0, 20), dataset, None)
    assert not description.unchanged(tmp_path, None)
    found = description.read(tmp_path)
    assert description.unchanged(tmp_path, found)
    description.write(tmp_path, CONFIG, (0, 20), dataset, None)
    assert not description.unchanged(tmp_path, found)
    (tmp_path / 'config.json').unlink()
    assert not description.unchanged(tmp_path, found)


def _without(name):
    return lambda said: said.pop(name)


def _within(*names, **values):
    def change(said):
        for name in names:
            said = said[name]
        said.update(values)

    return change


@pytest.mark.parametrize(
    ('edit', 'named'),
    [
        (_within('config', seeds='3'), "seeds='3' is not a whole number"),
        (_within('config', seeds=0), 'seeds=0 is out of range'),
        (_within('config', modle={'depth': 4}), "no field 'modle.depth'.*model.depth"),
        (_within('config', model=3), "no field 'model'"),
        (_within('config', train=[]), "no field 'train'"),
        (_within('config', 'model', depth=None, dept=4), "no field 'model.dept'.*model.depth"),
        (_within(config=None), 'config=None is not an object'),
        (_within(config=[1]), r'config=\[1\] is not an object'),
        (_without('config'), 'config is missing'),
        (_within(total_steps='20'), "total_steps='20' is not a whole number"),
        (_within(total_steps=True), 'total_steps=True is not a whole number'),
        (_within(total_steps=30), 'total_steps=30, and its config makes 20'),
        (_without('total_steps'), 'total_steps is missing'),
        (_without('data'), 'data is missing'),
        (_within(data=[]), r'data=\[\] is not an object'),
        (_within('data', classes='5'), "data.classes='5' is not a whole number"),
        (_within('data', input_shape=7), 'data.input_shape=7 is not a list'),
        (_within('data', train_size=None), 'data.train_size=None is not a whole number'),
        (_within('data', source='gaussians'), "data.source='gaussians' is not an object"),
        (_within('data', source={'name': 'x', 'note': ''}), 'data.source.digest is missing'),
        (_within(segments={}), r'segments=\{\} is not a list'),
    ],
)
def test_a_file_that_was_edited_is_refused_naming_the_field(tmp_path, said, edit, named):
    edit(said)
    put(tmp_path, said)
    _assert_refused(tmp_path, named)


@pytest.mark.parametrize(
    ('text', 'named'),
    [
        ('', 'Expecting value'),
        ('{"config": {', 'damaged'),
        ('[]', 'it holds a list'),
        ('3', 'it holds a int'),
        ('{"config": \xff}', 'damaged'),
        ('[' * 100_000, 'damaged'),
    ],
)
def test_what_is_no_json_of_ours_is_refused(tmp_path, text, named):
    (tmp_path / 'config.json').write_bytes(text.encode('latin-1'))
    _assert_refused(tmp_path, named)


def _assert_refused(workdir, named):
    before = (workdir / 'config.json').read_bytes()
    with pytest.raises(errors.RunError, match=named) as caught:
        description.read(workdir)
    assert str(workdir / 'config.json') in str(caught.value) and 'Mend' in str(caught.value)
    assert '\n' not in str(caught.value)
    assert (workdir / 'config.json').read_bytes() == before

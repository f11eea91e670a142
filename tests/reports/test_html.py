"""The report as a file: what stands in it, what must not, and its numbers against the series."""

import base64
import csv
import dataclasses
import gzip
import html
import html.parser
import json
import math
import re
import types

import numpy as np
import pytest

from resnet_dyn.analysis import intervals
from resnet_dyn.reports import measures, series
from resnet_dyn.reports.html import comparison, curves, long_form, markup, page, reading
from resnet_dyn.reports.html import data as data_lib

EVIL = '<img src=x onerror=alert(1)>'
ENDS = '</script><script>alert(2)</script>\u2028<!--'


class Parsed(html.parser.HTMLParser):
    """The elements of a page, the text of its scripts by id, and all that it might ask for."""

    def __init__(self, text: str):
        super().__init__()
        self.elements, self.scripts, self.addresses, self.ids = [], {}, [], []
        self._script = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.elements.append(tag)
        self.ids += [given['id']] if 'id' in given else []
        self.addresses += [given[name] for name in ('src', 'href', 'action') if name in given]
        self._script = given.get('id', len(self.scripts)) if tag == 'script' else None

    def handle_endtag(self, tag):
        self._script = None

    def handle_data(self, text):
        if self._script is not None:
            self.scripts[self._script] = self.scripts.get(self._script, '') + text

    def data(self):
        return json.loads(gzip.decompress(base64.b64decode(self.scripts['data'])))


@pytest.fixture(scope='module')
def two(report_in, tmp_path_factory):
    """Two runs of the same folder name in different parents, and one called like an attack."""
    parent = tmp_path_factory.mktemp('two')
    batches = [report_in(parent, 'a/batch', 1), report_in(parent, 'b/batch', 2)]
    return reading.read(comparison.names([*batches, report_in(parent, EVIL, 3, lost=True)]))


@pytest.fixture(scope='module')
def text(two):
    """The page of these runs, made by a command that is an attack too."""
    return page.render(two, made_by=(ENDS, 'today'))


def test_the_page_is_one_file_that_asks_for_nothing(text):
    found = Parsed(text)
    assert [address for address in found.addresses if not address.startswith('#')] == []
    assert {address[1:] for address in found.addresses} <= set(found.ids)
    assert len(set(found.ids)) == len(found.ids)
    assert 'img' not in found.elements and 'link' not in found.elements
    assert not re.search(r'@import|url\(\s*["\']?http', text)
    assert text.count('window.vegaEmbed=') == 1  # the bundle
    assert "default-src 'none'" in text
    assert len(text.encode()) < 1_000_000
    assert not re.search(r'"\$schema"', found.scripts['specifications'])


def test_names_of_folders_and_commands_are_text_wherever_they_stand(text):
    found = Parsed(text)
    assert 'onerror' not in {name for tag in found.elements for name in (tag,)}
    assert EVIL not in text and ENDS not in text
    assert html.escape(EVIL) in text and html.escape(ENDS) in text
    assert found.elements.count('script') == 4
    assert found.data()['runs'] == ['a/batch', 'b/batch', EVIL]


def test_data_can_end_no_script():
    said = markup.data('x', {ENDS: [EVIL, '&amp;']})
    assert said.lower().count('<script') == 1 and said.lower().count('</script>') == 1
    assert '\u2028' not in said and '<!--' not in said
    assert json.loads(Parsed(said).scripts['x']) == {ENDS: [EVIL, '&amp;']}
    with pytest.raises(ValueError, match='JSON'):
        markup.data('x', float('nan'))


def test_text_is_escaped_and_markup_is_not():
    cell = markup.element('b', '<', title='"')
    assert cell == '<b title="&quot;">&lt;</b>'
    assert '<td><b title' in markup.table(['a'], [['x', cell]])
    assert markup.element('input', value=0, checked=True) == '<input value="0" checked>'
    assert markup.element('p', class_=None, open=False) == '<p></p>'


def test_the_numbers_of_the_page_are_those_of_the_series(two):
    found = json.loads(json.dumps(data_lib.of(two.runs), allow_nan=False))
    run = two.runs['b/batch']
    numbers = [tuple(row[:2]) for row in found['numbers']]
    rows = {row[1]: row for row in found['series'] if row[0] == 1}
    assert {numbers[place] for place in rows} == set(run.series)
    one = run.series['depth', 'E[r] coherent']
    _, _, grid, means, halves, n = rows[numbers.index(('depth', 'E[r] coherent'))]
    steps = found['grids'][grid]
    assert (steps, n) == (one.steps_T.tolist(), 2)
    for place, step in enumerate(steps):
        exact = intervals.mean(one.at(step))
        assert means[place] == pytest.approx(exact.estimate, rel=5e-4)  # four digits
        assert halves[place] == pytest.approx(exact.high - exact.estimate, rel=5e-2)  # two


def test_a_law_of_the_page_is_that_of_its_record(two):
    found = data_lib.of(two.runs)
    titles = [title for title, _ in found['curves']]
    place = titles.index('gradient, |G_k|²')
    rows = [row for row in found['bands'] if row[:2] == [0, place]]
    assert [row[2] for row in rows] == [0, 2, 6] and place < found['laws']
    record = two.runs['a/batch'].records['paths'][1][1]
    squares_SR = record.sum_norm_SR.astype(float) ** 2
    shares_SR = squares_SR / squares_SR.sum(1, keepdims=True)
    assert rows[1][3] == 0  # k counts up from there
    np.testing.assert_allclose(rows[1][4], shares_SR.mean(0), rtol=5e-4)


def test_every_curve_is_of_a_measure_and_has_a_row_a_network():
    sizes = {'S': 2, 'L': 3, 'R': 4, 'J': 4, 'M': 5, 'N': 4}
    for curve in curves.ROWS:
        made = {}
        for field in measures.MEASURES[curve.measure].record._fields:
            axes = re.search(r'_([SLRJMN]+)$', field)
            shape = [sizes[axis] for axis in axes[1]] if axes else []
            made[field] = 1.0 + np.arange(math.prod(shape)).reshape(shape)
        x_X, y_SX = curve.values(types.SimpleNamespace(**made))
        assert y_SX.shape == (1 if curve.fixed else 2, len(x_X)), curve.title


def test_a_lost_network_is_null_or_left_out_and_the_others_stay(two, text):
    found = data_lib.of(two.runs)
    law = [title for title, _ in found['curves']].index('predicted, incoherent')
    row = next(row for row in found['bands'] if row[:3] == [2, law, 6])
    record = two.runs[EVIL].records['depth'][-1][1]
    assert row[5:] == [None, 1]  # one network: no interval
    np.testing.assert_allclose(row[4], record.incoherent_SR[0], rtol=5e-4)
    assert data_lib.rounded([np.nan, np.inf, 1.0, 0.123456]) == [None, None, 1, 0.1235]
    assert 'network 1 (seed 1), not finite from step 0' in text


def test_a_run_that_is_not_at_its_end_and_a_network_that_training_lost_are_said(two):
    name, run = next(iter(two.runs.items()))
    assert (run.total_steps, comparison.unfinished(two.runs)) == (6, [])
    loss = run.series['training', 'training loss']
    values_ST = np.where(loss.steps_T >= 4, [[np.nan], [1.0]], loss.values_ST)
    lines = run.series | {('training', 'training loss'): loss._replace(values_ST=values_ST)}
    cut = run._replace(series=lines, total_steps=1000)
    assert comparison.unfinished({name: cut}) == [f'{name} at step 6 of 1,000']
    assert comparison.left_out(cut) == {'network 0 (seed 0)': 4}
    text = page.render(two._replace(runs={name: cut}))
    assert '6 of 1,000' in text and 'network 0 (seed 0), not finite from step 4' in text


def test_the_csv_has_the_numbers_of_the_page_and_of_each_network(two, tmp_path):
    path = long_form.write(tmp_path / 'out' / 'report.csv', two.runs)
    with open(path, newline='') as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == long_form.HEAD
    run = two.runs['a/batch']
    where = {'run': 'a/batch', 'measure': 'depth', 'number': 'E[r] incoherent', 'step': '2'}
    some = {row['seed']: row for row in rows if where.items() <= row.items()}
    values_S = run.series['depth', 'E[r] incoherent'].at(2)
    exact = intervals.mean(values_S)
    assert list(some) == ['0', '1', 'mean']
    np.testing.assert_allclose([float(some[s]['value']) for s in '01'], values_S, rtol=1e-7)
    said = [float(some['mean'][name]) for name in ('value', 'low', 'high', 'n')]
    np.testing.assert_allclose(said, [exact.estimate, exact.low, exact.high, 2], rtol=1e-7)
    curve = next(one for one in curves.ROWS if one.measure == 'random')
    points = [row for row in rows if row['number'] == curve.title and row['run'] == 'a/batch']
    assert [row['x'] for row in points] == ['0', '1', '2', '3'] * 3
    error_J = 100 * run.records['random'][0][1].error_SJM.mean((0, 2), dtype=float)
    np.testing.assert_allclose([float(row['value']) for row in points[:4]], error_J, rtol=1e-6)


def test_differences_are_paired_by_seed_and_changes_by_network(two):
    key = ('depth', 'E[r] incoherent')
    compared = comparison.references(two.runs)
    assert compared == {'b/batch': 'a/batch', EVIL: 'a/batch'}
    found = comparison.ends(two.runs, key, compared)
    first, second = (two.runs[name].series[key] for name in ('a/batch', 'b/batch'))
    assert found['a/batch'].difference is None
    assert found['b/batch'].change == intervals.mean(second.at(6) - second.at(0))
    assert found['b/batch'].difference == intervals.difference(
        second.at(6), first.at(6), (0, 1), (0, 1)
    )


def test_runs_are_called_by_what_tells_them_apart(tmp_path):
    folders = [tmp_path / path for path in ('a/main', 'b/main', 'c', 'x/a/main', 'c')]
    assert list(comparison.names(folders)) == [
        f'{tmp_path.name}/a/main', 'b/main', 'c', 'x/a/main'
    ]  # fmt: skip
    assert list(comparison.names([tmp_path / 'a\udcff'])) == ['a\\udcff']


def test_a_folder_whose_name_is_not_utf8_is_shown_as_an_escape(reported, tmp_path):
    folder = reported('a\udcff')
    file, _ = page.write(tmp_path / 'out', reading.read(comparison.names([folder])))
    text = file.read_text('utf-8')
    assert r'a\udcff' in text and '://' not in text


def test_of_many_runs_the_first_few_of_each_task_are_shown(tiny_run):
    run = series.read(tiny_run)
    names = [f'{task}-{name}' for task in 'ab' for name in ('x', 'y', 'z', 'main', 'w')]
    data = {'a': 'gaussians', 'b': 'digits'}
    some = {}
    for name in names:
        other = dataclasses.replace(run.config.data, name=data[name[0]])
        some[name] = run._replace(config=dataclasses.replace(run.config, data=other))
    assert comparison.shown(some) == ['a-x', 'a-y', 'a-main', 'b-x', 'b-y', 'b-main']
    assert comparison.shown({name: some[name] for name in names[:8]}) == names[:8]
    compared = comparison.references(some)
    assert compared['a-z'] == 'a-main' and compared['b-x'] == 'b-main' and 'b-main' not in compared
    differ, common = comparison.settings(some)
    assert list(differ) == ['data.name'] and common['model.norm'] == 'batch'


def test_what_cannot_be_read_is_said_and_the_rest_is_there(reported, tmp_path):
    good, bad = reported('good'), reported('bad')
    record = next((good / 'records').glob('depth-00000002*'))
    record.write_bytes(record.read_bytes()[:100])
    (bad / 'config.json').write_text('{')
    found = reading.read(comparison.names([good, bad, tmp_path]))
    assert list(found.runs) == ['good']
    assert [step for step, *_ in found.runs['good'].records['depth']] == [0, 6]
    assert record.name in found.problems['good'][0]
    assert 'config.json' in found.problems['bad'][0]
    assert 'no config.json' in found.problems[tmp_path.name][0]
    assert record.name in page.render(found)


def test_intervals_of_many_numbers_are_those_of_each():
    values_SX = np.random.default_rng(0).normal(size=(5, 6))
    values_SX[1, 1], values_SX[:, 2], values_SX[1:, 3], values_SX[:, 4] = np.nan, np.inf, np.nan, 3
    found = zip(*intervals.means(values_SX), strict=True)
    for values_S, (mean, half, n) in zip(values_SX.T, found, strict=True):
        exact = intervals.mean(values_S)
        np.testing.assert_allclose([mean, n], [exact.estimate, exact.n], rtol=1e-12)
        np.testing.assert_allclose(half, exact.high - exact.estimate, rtol=1e-9)


def test_runs_that_share_nothing_are_compared_by_what_each_has(reported, tiny_run):
    bare = series.read(tiny_run)
    found = {'with': series.read(reported('with')), 'bare': bare._replace(records={})}
    rows = data_lib.of(found)
    assert {row[0] for row in rows['bands']} == {0}
    assert {row[0] for row in rows['series']} == {0, 1}
    text = page.render(reading.Reading(found, {}, {}))
    assert {'chart-trajectories', 'chart-laws', 'chart-curves'} <= set(Parsed(text).ids)
    only = page.render(reading.Reading({'bare': found['bare']}, {}, {}))
    assert 'chart-laws' not in Parsed(only).ids

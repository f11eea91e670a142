"""A measure is one module and one row: flags, cost, record, table and picture follow from it."""

import dataclasses
import types
from typing import NamedTuple

import numpy as np
import pytest
from absl import flags

from resnet_dyn import fields
from resnet_dyn.analysis import archive
from resnet_dyn.analysis.effort import Cost, totals
from resnet_dyn.analysis.measure import Column, Measure, Picture
from resnet_dyn.models import stack
from resnet_dyn.plots import style
from resnet_dyn.reports import measures

pytestmark = pytest.mark.usefixtures('sketched')


def logit_module():
    """What a module of a new measure holds: the size of the logits, times a factor."""
    module = types.SimpleNamespace()

    class Sizes(NamedTuple):
        step: np.ndarray
        size_S: np.ndarray

    @dataclasses.dataclass(frozen=True)
    class Options:
        factor: float = fields.field(1.0, 'what sizes are multiplied by', low=0.0)

    def measure(subject, effort, options):
        def squares(net, inputs, labels):
            return (stack.apply(net, inputs, np.ones(subject.blocks)) ** 2).sum()

        size_S = np.sqrt(totals(squares, subject, effort) / subject.examples.number)
        return Sizes(np.array(subject.origin.step), options.factor * size_S)

    def draw(records_T, heading, note):
        fig = style.figure(4.0, 3.0)
        axes = fig.subplots()
        axes.plot([int(r.step) for r in records_T], [r.size_S.mean() for r in records_T])
        style.heading(fig, heading)
        return fig

    module.Sizes, module.Options, module.measure, module.draw = Sizes, Options, measure, draw
    return module


@pytest.fixture
def row(monkeypatch):
    """The row of that module, in the table for one test."""
    module = logit_module()
    row = Measure(
        module.Sizes,
        module.measure,
        lambda L, options: Cost(1),
        (),
        module.Options,
        Picture(module.draw, 'Sizes of the logits'),
        (Column('size', lambda r: r.size_S, '.3f', 'root mean square of the logits'),),
    )
    monkeypatch.setitem(measures.MEASURES, 'sizes', row)
    return row


def test_a_new_row_has_flags_a_cost_a_record_a_column_and_a_picture(called, copied_run, row):
    command = ('analyze', f'--workdir={copied_run}', '--what=sizes', '--examples=20')
    status, out, err = called(*command, '--sizes.factor=2')
    assert (status, err) == (0, '')
    assert 'sizes  1 forward' in out and 'root mean square of the logits' in out
    found = archive.read(copied_run, 'sizes', row.record)
    assert [int(one.record.step) for one in found] == [0, 2, 4, 6]
    assert found[0].origin['settings']['factor'] == 2.0
    plain = called(*command, '--steps=6')
    assert 'measured sizes' in plain[1]  # of another factor, beside the other
    assert f'{found[-1].record.size_S.mean() / 2:.3f} ±' in plain[1]
    pictures = {path.name for path in (copied_run / 'pictures').iterdir()}
    assert {'sizes.png', 'sizes.pdf'} <= pictures


def test_its_flags_are_in_the_help_with_their_text_and_out_of_range_is_refused(
    called, copied_run, row, loaded
):
    with loaded('analyze') as analyze:
        flags.FLAGS(['analyze'])
        analyze.define()
        flag = flags.FLAGS['sizes.factor']
        assert flag.default == 1.0 and 'what sizes are multiplied by' in flag.help
    status, _, err = called('analyze', f'--workdir={copied_run}', '--sizes.factor=-1')
    assert status == 1 and 'sizes.factor' in err and err.count('\n') == 1

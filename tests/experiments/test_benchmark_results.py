"""Timings say their rounds and range, and come back from the file of a benchmark as they were."""

import json

import pytest

from experiments.benchmarks import results, timing
from resnet_dyn import errors


def test_a_spread_is_median_range_and_rounds():
    assert timing.spread([3.0, 1.0, 2.0]) == timing.Spread(2.0, 1.0, 3.0, 3)
    assert str(timing.spread([3.0, 1.0, 2.0])) == '2 (1 to 3; 3 rounds)'
    assert str(timing.spread([0.12345])) == '0.123 (one round)'
    assert timing.ratio([4.0, 6.0], [2.0, 2.0]) == timing.Spread(2.5, 2.0, 3.0, 2)


def test_numbers_come_back_as_they_were_written(tmp_path):
    numbers = {
        'sizes': {'depth': 20},
        'rows': [{'name': 'a', 'seconds': timing.spread([1.0, 2.0])}],
        'seconds': {'ours': [1.0, 2.0]},
    }
    file = results.write(tmp_path / 'new', 'train', numbers, seconds=5.0)
    found, provenance = results.read(tmp_path / 'new', 'train')
    assert found == numbers
    assert provenance['wall_time'] == 5.0
    stored = json.loads(file.read_text())['numbers']['rows'][0]['seconds']
    assert stored == {'median': 1.5, 'low': 1.0, 'high': 2.0, 'rounds': 2}


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        (None, 'does not exist'),
        ('{"numbers": {}, "provenance": {}}', 'earlier version'),
        ('{"format": 1, "numbers": {}, "provenance": {}}', 'format 1'),
        ('{"format"', 'damaged'),
        ('[]', 'damaged'),
    ],
)
def test_a_file_that_cannot_be_used_is_said_with_the_command_that_makes_it(tmp_path, text, words):
    if text is not None:
        results.path(tmp_path, 'train').write_text(text)
    with pytest.raises(errors.RecordError, match=f'{words}.*--what=train --workdir='):
        results.read(tmp_path, 'train')

"""What processes tell one another, with threads in their places and a store made of a dict."""

import numpy as np
import pytest

from resnet_dyn import errors, processes
from resnet_dyn.processes import exchange, packing


def test_trees_are_bytes_and_back_to_the_last_bit():
    tree = {
        'params': {'kernel': np.array([[-0.0, np.nan], [np.inf, 1e-40]], np.float32)},
        'count': np.int32(7),
        'half': np.arange(3).astype('bfloat16'),
        'names': np.array(['a', 'bcd']),
        'none': np.zeros((0, 2)),
        'said': [1, 'ä', None, {'rate': 0.1, 'nan': float('nan')}],
    }
    found = packing.unpacked(packing.packed(tree))
    assert found['params']['kernel'].tobytes() == tree['params']['kernel'].tobytes()
    assert found['count'].dtype == np.int32 and found['count'] == 7
    assert found['half'].dtype == tree['half'].dtype and found['half'].tolist() == [0, 1, 2]
    assert found['names'].tolist() == ['a', 'bcd'] and found['none'].shape == (0, 2)
    assert found['said'][:3] == [1, 'ä', None] and np.isnan(found['said'][3]['nan'])
    found['count'] += 1  # arrays are one's own


def test_one_process_is_the_lead_of_itself_and_needs_no_runtime():
    assert (processes.count(), processes.index(), processes.is_lead()) == (1, 0, True)
    assert processes.gathered({'a': (1, 2)}, 'x') == [{'a': (1, 2)}]
    assert processes.by_lead(lambda: 3, 'x') == 3 and processes.at_each(lambda: 4, 'x') == [4]
    assert processes.any_of(True, 'x') and not processes.any_of(False, 'x')
    processes.check_same({'digest': 'a'}, 'Mend it')
    with pytest.raises(errors.RunError, match='as it was'):
        processes.by_lead(lambda: (_ for _ in ()).throw(errors.RunError('as it was')), 'x')


def test_all_know_what_each_has_and_what_the_lead_says(together):
    def job():
        everyone = processes.gathered({'is': processes.index(), 'at': np.ones(2)}, 'x')
        assert [one['is'] for one in everyone] == [0, 1, 2]
        assert processes.any_of(processes.index() == 2, 'x')
        assert not processes.any_of(False, 'x')
        return processes.by_lead(lambda: {'lead': processes.index()}, 'x')

    assert together(3, job) == [{'lead': 0}] * 3


def test_turns_that_are_over_leave_nothing_in_the_store(together):
    together(3, lambda: [processes.barrier('x') for _ in range(20)])
    turns = {key.split('/')[2] for key in together.store.values}
    assert turns == {'20'}


def test_large_values_go_in_parts(together, monkeypatch):
    monkeypatch.setattr(exchange, '_PART', 1000)
    values = np.arange(5000, dtype=np.int16)
    for found in together(2, lambda: processes.gathered(values, 'x')):
        assert all((one == values).all() for one in found)
    assert len(together.store.values) > 20


def test_an_error_of_the_lead_is_one_of_all(together):
    def refuse():
        raise errors.RunError('no such folder')

    for error in together(3, lambda: processes.by_lead(refuse, 'x')):
        assert isinstance(error, errors.RunError) and str(error) == 'no such folder'


def test_an_error_of_one_is_one_of_all_and_names_it(together):
    def job():
        if processes.index() == 1:
            raise errors.DataError('no such data')
        return processes.index()

    first, itself, last = together(3, lambda: processes.at_each(job, 'x'))
    assert str(itself) == 'no such data'
    assert isinstance(first, errors.DataError) and str(first) == str(last)
    assert str(first) == 'process 1: no such data'
    assert together(3, lambda: processes.at_each(processes.index, 'x')) == [[0, 1, 2]] * 3


def test_those_that_do_not_come_are_named_and_what_the_others_wait_for(together):
    def job():
        if processes.index() in (1, 3):
            return None
        return processes.barrier('the end of the world')

    for number, error in enumerate(together(4, job, 0.3)):
        if number in (0, 2):
            assert isinstance(error, errors.ProcessError)
            assert 'processes 1, 3 of 4 did not come within 0.3 s' in str(error)
            assert 'the end of the world' in str(error)


def test_a_lead_that_does_not_come_is_named(together):
    found = together(2, lambda: processes.index() and processes.barrier('x'), 0.3)
    assert 'process 0 of 2 did not come' in str(found[1])


def test_a_process_that_was_started_otherwise_is_named_with_what_differs(together):
    def job():
        odd = processes.index() == 2
        facts = {'config.seeds': 4 if odd else 3, 'the digest of the data': 'abc', 'the code': 'x'}
        if odd:
            facts['config.model.depth'] = 20
        return processes.check_same(facts, 'Start all with the same flags')

    for error in together(3, job):
        assert isinstance(error, errors.ProcessError)
        assert str(error).startswith('process 2 of 3 (on ')
        assert 'config.seeds is 4 there and 3 at process 0' in str(error)
        assert 'config.model.depth is 20 there and nothing at process 0' in str(error)
        assert 'digest' not in str(error) and str(error).endswith('same flags')
    assert together(3, lambda: processes.check_same({'a': 1}, 'x')) == [None] * 3

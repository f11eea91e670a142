"""The table of chips, the words of a topology, and the least time of a program."""

import pytest

from resnet_dyn import errors
from resnet_dyn.plans import chips, costs

V5E = chips.topology('v5e:2x4').chip


def test_every_chip_has_a_source_and_is_found_by_what_jax_calls_it():
    for chip in (*chips.TPUS, *chips.GPUS):
        assert chip.source.startswith('https://')
        assert all(chips.of_kind(kind) is chip for kind in chip.kinds)
        assert chip.highest < chip.float32 <= chip.bfloat16
    assert chips.of_kind('cpu') is None
    # 4 units of 128 x 128 at 1.5 GHz
    assert V5E.clock == pytest.approx(1.5e9, rel=0.01)


def test_a_topology_is_a_chip_and_a_shape():
    assert chips.topology('v5e:2x4')[::2] == ('v5e:2x4', (2, 4))
    assert chips.topology('v4:2x2x1').shape == (2, 2, 1)
    for text, word in (
        ('v5:2x4', r"did you mean 'v5.'\?$"),
        ('v5e', 'shape'),
        ('v5e:8', 'shape'),
        ('v5e:0x4', 'shape'),
        ('v5e:2x4x', 'shape'),
        ('v5e:2x4x2', 'as in v5e:2x2'),
        ('v4:2x2', 'as in v4:2x2x4'),
        ('', 'v6e'),
    ):
        with pytest.raises(errors.ConfigError, match=word):
            chips.topology(text)


def test_the_least_time_is_the_longest_of_the_three():
    sent = {
        'all-reduce': costs.Collective(3, 1e6, 2e6),
        'all-gather': costs.Collective(1, 1e6, 4e6),
    }
    cost = costs.Cost({'bfloat16': 197e9, 'float32 highest': 197e9 / 6}, 1e15, 819e6, sent, 0, 0)
    bound = chips.bound(cost, V5E)
    assert bound.compute == pytest.approx(2e-3)
    assert bound.memory == pytest.approx(1e-3) and bound.wire == pytest.approx(6e6 / 200e9)
    assert bound.seconds == bound.compute and bound.limit == 'compute'
    half = chips.bound(cost, V5E, share=0.5)
    assert half == pytest.approx(tuple(2 * part for part in bound))

"""The totals of a run go through JSON to the last bit."""

import json

import numpy as np

from resnet_dyn.training import totals


def test_totals_come_back_from_json_as_they_were():
    rng = np.random.default_rng(0)
    sums = [rng.standard_normal(4).astype(np.float32) * 10.0**k for k in (-30, 0, 30)]
    sums = [np.float32(values) for values in sums]
    sums[0][1] = sums[2][1] = np.nan
    before = totals.Totals(*sums, np.array([totals.NEVER, 16, 0, totals.NEVER], np.int32))
    said = json.loads(json.dumps(totals.to_json(before), allow_nan=False))
    assert said['diverged_at'] == [None, 17, 1, None] and said['loss'][1] is None
    for old, new in zip(before, totals.from_json(said), strict=True):
        assert old.dtype == new.dtype
        np.testing.assert_array_equal(old, new)


def test_the_meta_of_a_checkpoint_says_which_networks_diverged():
    said = totals.to_json(totals.zero(2)._replace(first_bad=np.array([totals.NEVER, 3])))
    assert totals.diverged_at({totals.META: said}) == [None, 4]
    assert totals.diverged_at({'model': {}}) == []

"""Which of S networks a picture can show: one that is not finite is left out, and counted.

Fields of a record that end in _S, _SL, _SJM, ... are of networks, by their first axis
(`records.is_by_network`).
"""

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np

from resnet_dyn import records


def finite(records_T: Sequence, may_miss: Sequence[str] = ()) -> tuple[list, str]:
    """The records with networks that are not finite as NaN in every field, and a sentence on them.

    A network is not finite at a step where a field has no finite number of it, fields of
    `may_miss` apart. Single numbers that are not finite stay: what is drawn leaves them out.
    """
    if not len(records_T):
        raise ValueError('no records: a picture needs those of one step at least')
    seen_T, lost_TS = zip(*(_masked(record, may_miss) for record in records_T), strict=True)
    return list(seen_T), _left_out([int(record.step) for record in records_T], np.array(lost_TS))


def _masked(record, may_miss):
    fields = record._asdict() if hasattr(record, '_asdict') else vars(record)
    rows = {
        name: np.array(value, np.float64)
        for name, value in fields.items()
        if records.is_by_network(name)
    }
    lost = [_nothing_finite(row_S) for name, row_S in rows.items() if name not in may_miss]
    lost_S = np.any(lost, axis=0)
    for row_S in rows.values():
        row_S[lost_S] = np.nan
    return SimpleNamespace(**{**fields, **rows}), lost_S


def _nothing_finite(row_S):
    return (row_S[0].size > 0) & ~np.isfinite(row_S).any(tuple(range(1, row_S.ndim)))


def _left_out(steps_T, lost_TS) -> str:
    """'1 of 5 networks is left out from step 600 on: not finite.', by the step where it begins."""
    firsts = [int(lost_T.argmax()) for lost_T in lost_TS.T if lost_T.any()]
    networks = f'{lost_TS.shape[1]} network' + ('s' if lost_TS.shape[1] > 1 else '')
    return ' '.join(
        f'{firsts.count(t)} of {networks} {"is" if firsts.count(t) == 1 else "are"} left out'
        f'{f" from step {steps_T[t]:,} on" if t else ""}: not finite.'
        for t in sorted(set(firsts))
    )

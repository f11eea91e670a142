"""The table of theorems at toy size: its files, its verdicts, and that a verdict can change."""

import json

import jax
import numpy as np
import pytest

from experiments import verify_theorems
from experiments.theorems import batch_norm, counts, depth, descent, growth, table
from resnet_dyn import records
from resnet_dyn.theory import effective_depth

TOY = verify_theorems.Settings(
    samples=(30,), exact_sizes=(5, 20), descent_sizes=(16, 48), seeds=8, steps=600, starts=4
)
FAILING = {
    'Lemma 2',
    'Theorem 1',
    'Derivative of eps_r',
    'After eq 16',
    'Fig 1(a-c)',
    'Eq 20',
    'After Theorem 3',
    'Theorem 3, part 1',
    'Theorem 4',
    'Eq 31',
}


SIZES = {'finite_sizes': counts.FiniteSizes}


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """The folder, the result and the lines of a run at toy size."""
    return run(tmp_path_factory.mktemp('theorems') / 'new')


@pytest.fixture(scope='module')
def made_of_few(tmp_path_factory):
    """The same of the rows and the record that take no time."""

    def measure(chosen, fast, report):
        rows = [*batch_norm.rows(fast), *depth.lemma_2(20_000)]
        return rows, {'finite_sizes': counts.finite_sizes(chosen.exact_sizes)}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify_theorems, 'measure', measure)
        return run(tmp_path_factory.mktemp('few') / 'new')


def run(workdir):
    lines = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify_theorems, 'settings', lambda max_lambda, fast: TOY)
        result = verify_theorems.run(workdir, max_lambda=2, fast=True, report=lines.append)
    return workdir, result, '\n'.join(lines)


@pytest.mark.slow
def test_what_is_corrected_holds_and_what_is_known_to_be_wrong_fails(made):
    rows = made[1].rows
    wrong = {row.statement for row in rows if row.source != table.STATED and not row.holds}
    assert not wrong
    assert {row.result for row in rows if row.verdict == 'FAILS'} == FAILING
    held = {row.result for row in rows if row.source == table.STATED and row.holds}
    assert held == {'Lemma 4', 'Theorem 2', 'Theorem 5', 'Theorem 4', 'After eq 31'}


@pytest.mark.slow
def test_every_result_that_fails_as_stated_has_a_row_that_holds(made):
    rows = made[1].rows
    mended = {row.result for row in rows if row.holds and row.source == table.CORRECTED}
    assert FAILING - mended == {'After eq 16', 'Fig 1(a-c)'}  # claims with nothing to mend


def test_the_table_is_printed_and_written_with_its_provenance(made_of_few):
    workdir, result, printed = made_of_few
    assert {row.verdict for row in result.rows} == {'holds', 'FAILS'}
    assert table.as_text(result.rows) in printed
    assert (workdir / 'theorems.txt').read_text() == table.as_text(result.rows) + '\n'
    found = json.loads((workdir / 'theorems.json').read_text())
    assert [row['verdict'] for row in found['rows']] == [row.verdict for row in result.rows]
    assert found['provenance']['config']['max_lambda'] == 2
    markdown = (workdir / 'theorems.md').read_text().splitlines()
    assert len(markdown) == 2 + len(result.rows)
    assert {line.replace('\\|', '').count('|') for line in markdown} == {8}


@pytest.mark.slow
def test_pictures_stand_beside_the_records_they_were_drawn_from(made):
    stand(made, {'counts': counts.Counts, 'descents': descent.Descents, **SIZES}, files=12)


def test_a_picture_stands_beside_the_record_it_was_drawn_from(made_of_few):
    stand(made_of_few, SIZES, files=6)


def stand(made, kinds, files):
    workdir, result, _ = made
    for name, kind in kinds.items():
        record, origin = records.load(workdir / f'{name}.npz', kind)
        assert origin['config']['samples'] == [30]
        assert np.isfinite(record.sizes_N).all()
        for suffix in ('png', 'pdf'):
            assert (workdir / f'{name}.{suffix}').stat().st_size > 10_000
    assert all(path.exists() for path in result.files)
    assert len(result.files) == files


@pytest.mark.slow
def test_searches_are_set_against_exact_means_and_a_wrong_mean_is_seen(made):
    found, _ = records.load(made[0] / 'counts.npz', counts.Counts)
    assert not found.incomplete_MN.any()
    np.testing.assert_allclose(found.exact_MN[:2, 0], [4, 5.2915026221], rtol=1e-9)
    assert all(row.holds for row in counts.count_rows(found))
    missed = found._replace(incomplete_MN=found.incomplete_MN + np.eye(4, 1, dtype=int))
    assert not next(counts.count_rows(missed)).holds
    wrong = found._replace(exact_MN=found.exact_MN * 1.5)
    assert [row.holds for row in counts.count_rows(wrong)] == [True, False, True, True]


def test_a_mean_without_spread_must_be_exact():
    z, largest = counts.standard_errors(np.ones(2), np.array([0.0, 0.5]), np.array([1.0, 2.0]))
    assert z.tolist() == [-2.0] and largest == 2.0
    assert counts.standard_errors(np.ones(1), np.zeros(1), np.full(1, 1.1))[1] == np.inf


@pytest.mark.slow
def test_the_verdict_of_a_descent_follows_its_record(made):
    found, _ = records.load(made[0] / 'descents.npz', descent.Descents)
    assert [row.holds for row in descent.rows(found)] == [True] * 5
    lifted = found._replace(energies_NPST=found.energies_NPST + 1.0)
    assert [row.holds for row in descent.rows(lifted)][1] is False
    shrinking = found._replace(betas_NPST=found.betas_NPST[..., ::-1])
    assert not next(descent.rows(shrinking)).holds


def test_the_verdict_on_lemma_4_follows_the_code_it_checks(monkeypatch):
    assert depth.lemma_4(6).holds
    monkeypatch.setattr(effective_depth, 'scale_for_depth', lambda *_, **__: 1.0)
    assert not depth.lemma_4(6).holds


def test_the_verdicts_on_eq_20_follow_the_simulation(monkeypatch):
    monkeypatch.setattr(batch_norm, '_simulate', lambda seed, p, width: p + 0.01 * seed)
    stated, corrected = batch_norm.second_moments(seeds=3, width=128)
    assert stated.holds and not corrected.holds


def test_a_scale_that_grows_would_be_seen_to_grow(monkeypatch):
    example = growth.gamma_growth.shrinking_scale_example()
    growing = (example[0], 2 * example[1], example[2])
    monkeypatch.setattr(growth.gamma_growth, 'shrinking_scale_example', lambda: growing)
    with jax.enable_x64(True):
        assert next(growth.theorem_4(2)).holds


def test_sizes_that_cannot_be_searched_are_refused():
    with pytest.raises(ValueError, match='from 2 to 8'):
        verify_theorems.settings(9)
    assert len(verify_theorems.settings(8).samples) == 7
    assert max(verify_theorems.settings(4, fast=True).samples) == 40

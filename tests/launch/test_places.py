"""Where a process finds itself among several: by flags, by Slurm, by Open MPI, or alone."""

import pytest
from absl import flags
from absl.testing import flagsaver

from launch import processes, ranks

STEP = {
    'SLURM_JOB_ID': '7',
    'SLURM_STEP_NODELIST': 'node[1-2]',
    'SLURM_STEP_NUM_TASKS': '4',
    'SLURM_NTASKS': '4',
    'SLURM_PROCID': '3',
    'SLURM_LOCALID': '1',
}
BY_HAND = {'coordinator': '10.0.0.1:8476', 'process_id': 1, 'num_processes': 2}


@pytest.fixture
def find():
    """find(environment, **flags): the place, or a flag error."""

    def find(environment=(), **given):
        with flagsaver.flagsaver():
            flags.FLAGS.mark_as_parsed()
            for name, value in given.items():
                setattr(flags.FLAGS, name, value)
            return processes.find(dict(environment))

    return find


def test_alone_where_nothing_says_otherwise(find):
    assert find() is None


@pytest.mark.parametrize(
    'environment',
    [
        {'SLURM_JOB_ID': '7'},  # a shell on the node of a job
        {'SLURM_JOB_ID': '7', 'SLURM_NTASKS': '4'},  # the shell of salloc
        {name: STEP[name] for name in STEP if not name.startswith('SLURM_STEP')},  # a job's script
        STEP | {'SLURM_STEP_NUM_TASKS': '1', 'SLURM_NTASKS': '1'},  # srun --pty bash
        {'OMPI_COMM_WORLD_SIZE': '1'},
    ],
)
def test_a_job_of_one_process_is_one_process_and_waits_for_nobody(find, environment):
    assert find(environment) is None


def test_a_step_of_several_tasks_is_found_by_jax(find):
    assert find(STEP) == ranks.Place('Slurm (4 tasks)', {})
    assert find(STEP, processes=1) is None
    with pytest.raises(flags.Error, match=r'--processes=2 .* already one of several by Slurm'):
        find(STEP, processes=2)


def test_open_mpi_is_found_by_jax_where_it_says_enough(find):
    world = {'OMPI_COMM_WORLD_SIZE': '2'}
    assert find(world | {'OMPI_MCA_orte_hnp_uri': '1.0;tcp://10.0.0.1:1'}).where.startswith('Open')
    with pytest.raises(flags.Error, match=r'--process_id=\$OMPI_COMM_WORLD_RANK'):
        find(world)


def test_all_of_a_newer_open_mpi_on_one_machine_take_the_same_coordinator(find):
    world = {'OMPI_COMM_WORLD_SIZE': '2', 'OMPI_COMM_WORLD_LOCAL_SIZE': '2'}
    one, two = (
        find(world | {'PMIX_NAMESPACE': 'prterun-node-7@1', 'OMPI_COMM_WORLD_RANK': rank}).given
        for rank in '01'
    )
    assert (one['process_id'], two['process_id']) == (0, 1)
    assert one['coordinator_address'] == two['coordinator_bind_address']
    assert one['num_processes'] == 2 and one['coordinator_address'].startswith('127.0.0.1:6')
    elsewhere = {'OMPI_COMM_WORLD_LOCAL_SIZE': '1', 'OMPI_COMM_WORLD_RANK': '0'}
    with pytest.raises(flags.Error, match='does not say where process 0 is'):
        find(world | {'PMIX_NAMESPACE': 'prterun-node-7@1'} | elsewhere)


def test_what_is_given_by_hand_is_taken_before_what_is_found(find):
    place = find(STEP, **BY_HAND)
    assert place.given == {
        'coordinator_address': '10.0.0.1:8476',
        'process_id': 1,
        'num_processes': 2,
        'cluster_detection_method': 'deactivate',
    }


def test_one_by_hand_is_one_process(find):
    assert find(**BY_HAND | {'process_id': 0, 'num_processes': 1}) is None


@pytest.mark.parametrize('host', ['127.0.0.1', 'localhost', '[::1]'])
def test_a_coordinator_on_this_machine_listens_on_no_other_interface(find, host):
    given = find(**BY_HAND | {'coordinator': f'{host}:81'}).given
    assert given['coordinator_bind_address'] == f'{host}:81'


@pytest.mark.parametrize(
    ('given', 'words'),
    [
        ({'coordinator': 'a:1'}, '--process_id and --num_processes are not given'),
        ({'process_id': 1, 'num_processes': 2}, '--coordinator is not given'),
        (BY_HAND | {'coordinator': 'node1'}, "--coordinator='node1' is not HOST:PORT"),
        (BY_HAND | {'coordinator': 'node1:99999'}, 'is not HOST:PORT'),
        (BY_HAND | {'process_id': 2}, '--process_id=2 of --num_processes=2: it is one of 0..1'),
        (BY_HAND | {'processes': 2}, '--processes=2 is for processes that are started here'),
        (BY_HAND | {'max_restarts': 2}, '--max_restarts=2 is for processes that are started here'),
        ({'max_restarts': 1}, '--max_restarts=1 is for --processes=N'),
    ],
)
def test_what_does_not_go_together_is_refused_in_words(find, given, words):
    with pytest.raises(flags.Error) as refused:
        find(**given)
    assert words in str(refused.value)


def test_bad_places_are_refused_by_launchers_before_anything_is_written(called, tmp_path):
    for launcher in ('train', 'analyze'):
        flags_ = (f'--workdir={tmp_path}', '--process_id=1')
        status, out, err = called(launcher, *flags_)
        assert (status, out) == (1, '') and err.count('\n') == 1
        assert '--coordinator and --num_processes are not given' in err
    assert not any(tmp_path.iterdir())

"""Memory that is left: of the machine, within the limits of its control groups; fake files."""

import pytest

from resnet_dyn.kernels import devices

GiB = 2**30
NO_LIMIT = 9223372036854771712  # what version 1 says


def write(root, files):
    meminfo = f'MemTotal: {64 * 2**20} kB\nMemFree: {2**20} kB\nMemAvailable: {32 * 2**20} kB\n'
    for name, text in {'proc/meminfo': meminfo, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(text))
    return root


def group(folder, limit, used, cached=0, version=2):
    names = {2: ('max', 'current', ''), 1: ('limit_in_bytes', 'usage_in_bytes', 'total_')}
    most, current, prefix = names[version]
    return {
        f'{folder}/memory.{most}': limit,
        f'{folder}/memory.{current}': used,
        f'{folder}/memory.stat': f'anon 7\n{prefix}inactive_file {cached}\n',
    }


V2, V1 = 'sys/fs/cgroup', 'sys/fs/cgroup/memory'
CASES = {
    'no container': ({}, 32 * GiB),
    'version 2, its own group at the top': (
        {'proc/self/cgroup': '0::/\n', **group(V2, 8 * GiB, 3 * GiB, GiB)},
        6 * GiB,
    ),
    'version 2, a group above is narrower': (
        {
            'proc/self/cgroup': '0::/user/job\n',
            **group(f'{V2}/user/job', 'max', GiB),
            **group(f'{V2}/user', 4 * GiB, 2 * GiB),
        },
        2 * GiB,
    ),
    'version 2, the path is that of the host': (
        {'proc/self/cgroup': '0::/docker/abc\n', **group(V2, 8 * GiB, 5 * GiB)},
        3 * GiB,
    ),
    'version 2, the limit is wider than the machine': (
        {'proc/self/cgroup': '0::/\n', **group(V2, 99 * GiB, GiB)},
        32 * GiB,
    ),
    'version 2, over its limit': (
        {'proc/self/cgroup': '0::/\n', **group(V2, GiB, 2 * GiB)},
        0,
    ),
    'version 1': (
        {
            'proc/self/cgroup': '4:cpu,cpuacct:/job\n3:memory:/job\n1:name=systemd:/job\n',
            **group(f'{V1}/job', 16 * GiB, 12 * GiB, 2 * GiB, 1),
            **group(V1, NO_LIMIT, 40 * GiB, 0, 1),
        },
        6 * GiB,
    ),
}


@pytest.mark.parametrize('case', CASES)
def test_what_is_available_is_the_least_that_anything_leaves(case, tmp_path):
    files, expected = CASES[case]
    assert devices.available_memory(write(tmp_path, files)) == expected


def test_half_of_what_is_available_is_the_budget(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, 'available_memory', lambda: 10 * GiB)
    assert devices.default_budget() == 5 * GiB


def test_without_proc_the_machine_says_how_many_pages_it_has(tmp_path):
    assert devices.available_memory(tmp_path) > 2**20

"""Machines that are asked for and given back: scripts in full, against a stand-in for the cloud."""

import pytest

from launch.schedulers import away, sky

MACHINES = """
echo "$*" >> "$LOG"
far=$FAR/home
case "$*" in
  *describe*) if [ -d $far ]; then echo ACTIVE; else echo NOT_FOUND >&2; exit 1; fi ;;
  *create*) mkdir -p $far ;;
  *delete*) rm -rf $far ;;
  *scp*) cp "$5" "$far/${6#*:}" ;;
  *ssh*)
    [ -d $far ] || exit 255
    case "$*" in *-cf*) cut=$(cat "$CUT") ;; *) cut=0 ;; esac
    if [ $cut -gt 0 ]; then echo $((cut - 1)) > "$CUT"; echo part; exit 255; fi
    for word in "$@"; do case $word in --command=*) command=${word#--command=} ;; esac; done
    cd $far && HOME=$far bash -c "$command" ;;
esac
"""
THERE = """
mkdir -p $HOME/.resnet_dyn/bin
cat > $HOME/.resnet_dyn/bin/resnet-dyn <<'END'
#!/usr/bin/env bash
echo "$@" >> "$LOG"
W=resnet_dyn_runs/first
echo step >> $W/steps
case $(grep -c "^train" "$LOG") in
  1) exit 42 ;;
  2) rm -rf $HOME; exit 42 ;;
  3) exit 3 ;;
esac
END
chmod +x $HOME/.resnet_dyn/bin/resnet-dyn
"""


def test_machines_are_asked_for_used_and_given_back_and_the_run_goes_on_where_they_vanish(
    called, unchecked, tools, tmp_path, monkeypatch, bash
):
    monkeypatch.setattr(away, 'PAUSE', 0)
    tools('gcloud', MACHINES)
    tools('python3', THERE)  # installs the package there
    monkeypatch.setenv('FAR', str(tmp_path / 'far'))
    monkeypatch.setenv('LOG', str(tmp_path / 'log'))
    monkeypatch.setenv('CUT', str(tmp_path / 'cut'))
    (tmp_path / 'cut').write_text('1')
    flags = ('--on=tpu', '--accelerator_type=v6e-8', '--zone=z', '--code=resnet_dyn[tpu]')
    flags += (f'--workdir={tmp_path}/W', '--name=first')
    status, out, _ = called('submit', *flags, '--dry_run', '--', 'launch.train', '--config.seeds=2')
    assert status == 0
    status, out, err = bash(out)  # what a dry run prints is what runs
    assert status == 3, err
    log = (tmp_path / 'log').read_text()
    assert log.count('queued-resources create first') == 2
    assert log.count('queued-resources delete first --force') == 2
    assert log.count('train --workdir=resnet_dyn_runs/first --config.seeds=2') == 3
    assert 'machines are gone' in out
    assert (tmp_path / 'W' / 'steps').read_text() == 'step\n' * 2  # the second was lost
    assert not (tmp_path / 'far' / 'home').exists()
    assert {path.name for path in (tmp_path / 'W').iterdir()} == {'logs', 'steps'}


ONCE = """
mkdir -p $HOME/.resnet_dyn/bin
printf '#!/bin/sh\\necho "$@" >> "$LOG"; echo all > resnet_dyn_runs/first/steps; %s\\n' "$END" \\
  > $HOME/.resnet_dyn/bin/resnet-dyn
chmod +x $HOME/.resnet_dyn/bin/resnet-dyn
"""


@pytest.mark.parametrize(
    ('cuts', 'end', 'kept'),
    [
        (2, 'exit 0', None),
        (9, 'exit 0', 'could not be fetched'),
        (0, 'kill -9 $(ps -o ppid= -p $PPID) $PPID', 'the connection ended'),
    ],
)
def test_machines_that_are_there_are_not_given_back_before_all_is_fetched(
    cuts, end, kept, called, unchecked, tools, tmp_path, monkeypatch, bash
):
    tools('gcloud', MACHINES)
    tools('python3', ONCE)
    monkeypatch.setattr(away, 'PAUSE', 0)
    monkeypatch.setattr(away, 'TRIES', 4)
    for name, value in (('FAR', 'far'), ('LOG', 'log'), ('CUT', 'cut')):
        monkeypatch.setenv(name, str(tmp_path / value))
    monkeypatch.setenv('END', end)
    (tmp_path / 'W').mkdir()
    (tmp_path / 'W' / 'steps').write_text('some')
    (tmp_path / 'cut').write_text('0')
    words = ('--on=tpu', '--zone=z', '--code=x', f'--workdir={tmp_path}/W', '--name=first')
    _, out, _ = called('submit', *words, '--dry_run', '--', 'launch.train')
    out = out.replace('run &\n', 'run; echo $CUTS > "$CUT" &\n')
    status, out, err = bash(out, CUTS=str(cuts))
    there = (tmp_path / 'far' / 'home').exists()
    names = {path.name for path in (tmp_path / 'W').iterdir()}
    assert names == {'logs', 'steps'}
    if not kept:
        assert (status, there) == (0, False), out + err
        assert (tmp_path / 'W' / 'steps').read_text() == 'all\n'
        return
    assert (status, there) == (1, True) and kept in out, out + err
    assert 'queued-resources delete first --force --zone=z' in out and 'tar -C' in out
    if cuts:
        assert (tmp_path / 'W' / 'steps').read_text() == 'some'
        (tmp_path / 'cut').write_text('0')
        status, _, err = bash(f'bash {tmp_path}/W/logs/here.sh', CUTS='0')
        assert status == 0 and (tmp_path / 'W' / 'steps').read_text() == 'all\n', err


def test_workdirs_of_one_name_have_machines_of_their_own(called, unchecked):
    names = set()
    for workdir in ('/exp1/seed0', '/exp2/seed0'):
        words = ('--dry_run', f'--workdir={workdir}', '--code=x', '--', 'launch.train')
        for place in ('tpu', 'sky'):
            _, out, _ = called('submit', f'--on={place}', *words)
            (name,) = {line for line in out.splitlines() if line.startswith('name=')}
            names.add(name)
            assert f'home=resnet_dyn_runs/{name[5:]}\n' in out
    assert len(names) == 2 and all(name.startswith('name=seed0-') for name in names)


@pytest.mark.parametrize(
    ('said', 'gone'),
    [
        ('Clusters\nNAME INFRA STATUS\nfirst gcp UP', False),
        ('Clusters\nNAME INFRA STATUS\nfirst gcp INIT', True),
        ("Cluster 'first' not found", True),
        ('Failed to refresh status for 1 cluster', False),
    ],
)
def test_skypilot_says_whether_machines_are_gone(said, gone, tools, bash):
    tools('sky', f'cat <<"END"\n{said}\nEND\n')
    text = f'name=first\ngone() {{\n{sky._FUNCTIONS["gone"]}}}\ngone'
    assert bash(text)[0] == (0 if gone else 1)
    assert bash(text, PATH='/nowhere:/usr/bin:/bin')[0] == 1  # no sky, no word

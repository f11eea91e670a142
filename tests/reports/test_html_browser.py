"""The report in a browser: nothing is asked for, nothing complained of, and the slider moves."""

import chromium
import pytest

from resnet_dyn.reports.html import comparison, page, reading

pytestmark = pytest.mark.skipif(
    chromium.found() is None,
    reason=f'skipped: no browser on the PATH ({", ".join(chromium.NAMES)}); on Debian apt-get '
    'install chromium',
)

EVIL = '<img src=x onerror=alert(1)>'
LINES = (
    "[...document.querySelectorAll('#chart-laws .mark-line path')].map(p => p.getAttribute('d'))"
)


def slide(id: str, value: int) -> str:
    """Moves the slider of a chart as a hand does."""
    return f"""(async () => {{
        const slider = document.querySelector('#chart-{id} input[type=range]');
        slider.value = {value};
        slider.dispatchEvent(new Event('input'));
        await report.views['{id}'].runAsync();
    }})()"""


def test_a_report_in_a_browser(reported, tmp_path):
    folders = [reported('batch', 1), reported(EVIL, 2, lost=True)]
    file, _ = page.write(tmp_path / 'out', reading.read(comparison.names(folders)))
    with chromium.opened(file) as seen:
        assert seen.run('Object.keys(report.views)') == ['trajectories', 'laws', 'gammas', 'curves']
        at_end = seen.run(LINES)
        seen.run(slide('laws', 0))
        at_start = seen.run(LINES)
        assert len(at_end) == len(at_start) > 0
        assert all(line.count('L') == 3 for line in at_start)  # k = 0..3: one checkpoint alone
        stay = [before == after for before, after in zip(at_end, at_start, strict=True)]
        assert stay.count(True) <= 2 < len(stay)  # a run's reference, where its axis stays too
        titles = "document.querySelector('#chart-laws svg').textContent"
        assert 'at step 0' in seen.run(titles)
        both = seen.run(titles)
        seen.run("document.querySelector('#choice input').click()")
        seen.wait(f'{titles} !== {both!r}')
        assert both.index('batch') < both.index(EVIL)  # in the order in which they were named
        assert 'batch' not in seen.run(titles) and EVIL in seen.run(titles)
        column = "document.querySelector('#numbers .by-run tr > :nth-child(2)')"
        assert seen.run(f'getComputedStyle({column}).display') == 'none'
        assert seen.run("document.querySelectorAll('img, [onerror]').length") == 0
        assert seen.requests == [file.as_uri()]
        assert seen.complaints == []

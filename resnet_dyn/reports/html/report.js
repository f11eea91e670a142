// Draws the charts of the page from its numbers; the list of runs filters charts and tables.
(async () => {
  'use strict';

  const textOf = (id) => document.getElementById(id).textContent;
  const unpacked = (base64) => {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
    return new Response(stream).json();
  };
  const data = await unpacked(textOf('data'));
  const specs = JSON.parse(textOf('specifications'));
  const boxes = [...document.querySelectorAll('#choice input[type=checkbox]')];
  const chosen = () => boxes.filter((box) => box.checked).map((box) => Number(box.value));

  // A point of each band: mean, interval, number of networks.
  const points = (xs, means, halves, n, more) =>
    xs.map((x, i) => {
      const mean = means[i];
      const half = halves && halves[i];
      const known = mean !== null && half !== null;
      return {
        ...more(x),
        mean,
        low: known ? mean - half : null,
        high: known ? mean + half : null,
        n: Array.isArray(n) ? n[i] : n,
      };
    });

  const rows = {
    series: data.series.map(([r, number, grid, means, halves, n]) => ({
      r,
      rows: points(data.grids[grid], means, halves, n, (step) => ({
        number, step, last: data.grids[grid].at(-1) || 1,
      })),
    })),
    bands: bands(),
    gammas: data.gammas.map(([r, block, number, grid, means]) => ({
      r,
      rows: data.grids[grid].map((step, i) => ({ block, number, step, mean: means[i] })),
    })),
  };
  rows.laws = rows.bands.filter((band) => band.law).map(({ r, rows: shares }) => ({
    r,
    rows: shares.map((row) => ({
      ...row,
      low: row.low === null ? null : Math.max(row.low, 0),
      high: row.high === null ? null : Math.min(row.high, 1),
    })),
  }));

  // A curve stands from its step until the next step of the same curve and run.
  function bands() {
    const next = new Map();
    const found = [];
    for (const [r, number, step, x, means, halves, n] of [...data.bands].reverse()) {
      const xs = Array.isArray(x) ? x : means.map((_, i) => x + i);
      const place = data.steps.indexOf(step);
      const key = `${r} ${number}`;
      const until = next.has(key) ? next.get(key) : data.steps.length;
      next.set(key, place);
      const curve = data.curves[number][0];
      found.push({
        r,
        law: number < data.laws,
        rows: points(xs, means, halves, n, (x) => ({
          curve, number, step, x, from: place, until,
        })),
      });
    }
    return found.reverse();
  }

  // Copies, since each chart adds to its rows.
  const of = (source, runs) =>
    rows[source]
      .filter((one) => runs.includes(one.r))
      .flatMap((one) => one.rows.map((row) => ({ ...row, run: data.runs[one.r], place: one.r })));

  const views = {};
  const sources = {};
  window.report = { views, data };

  async function show() {
    const runs = chosen();
    const names = runs.map((r) => data.runs[r]);
    hide(runs);
    for (const [name, view] of Object.entries(views)) {
      await view.signal('shown', names).data(sources[name], of(sources[name], runs)).runAsync();
    }
  }

  // Columns of tables that have one a run, by their place.
  const sheet = document.head.appendChild(document.createElement('style')).sheet;
  function hide(runs) {
    while (sheet.cssRules.length) sheet.deleteRule(0);
    for (const r of data.runs.keys()) {
      if (!runs.includes(r)) {
        sheet.insertRule(`.by-run tr > :nth-child(${r + 2}) { display: none; }`);
      }
    }
  }

  for (const [name, spec] of Object.entries(specs)) {
    sources[name] = spec.data.name;
    const datasets = { [sources[name]]: of(sources[name], chosen()) };
    const place = document.getElementById(`chart-${name}`);
    const embedded = await vegaEmbed(place, { ...spec, datasets }, {
      renderer: 'svg',
      logLevel: 1, // errors alone: a chart without rows is no cause for a warning
      actions: { export: true, source: false, compiled: false, editor: false },
    });
    views[name] = embedded.view;
  }
  const meaning = document.getElementById('meaning');
  const explain = (_, number) => {
    const [measure, title, said] = data.numbers[number];
    meaning.textContent = `${measure}: ${title}: ${said}.`;
  };
  views.trajectories.addSignalListener('number', explain);
  explain('number', views.trajectories.signal('number'));
  hide(chosen());
  for (const box of boxes) box.addEventListener('change', show);
  for (const [id, checked] of [['all-runs', true], ['no-runs', false]]) {
    document.getElementById(id).addEventListener('click', () => {
      for (const box of boxes) box.checked = checked;
      show();
    });
  }
  window.report.ready = true;
})();

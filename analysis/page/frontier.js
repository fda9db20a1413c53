'use strict';
/* The chart of the frontier and what lies over it, the same as a table, and where the best method changes. */

const NARROW = 560; // pixels, under which the lines have no names at their ends

let chart = null;
let charted = ''; // what the lines of the chart were drawn for
let lined = []; // the lines that the chart shows, where there is room for their names
let shapes = []; // over the chart: these names, and the mark of the answer
let awaited = null; // what the chart is to show at the next frame

/** Once a frame, however fast the slider moves. */
function showFrontierSoon(question) {
  if (!awaited)
    requestAnimationFrame(() => {
      showFrontier(awaited.question);
      awaited = null;
    });
  awaited = {question};
}

/** The lines are drawn anew where a control changes them; the budget alone moves the mark. */
function showFrontier(question) {
  chart ??= startChart();
  if (question) {
    const spent = current ? current.answer.budget.flops : planning.span.flops[1];
    const span = chartSpan(planning, spent);
    const narrow = byId('chart').clientWidth < NARROW;
    const {methods, suite, count, limits, machine} = question;
    const key = JSON.stringify([
      span,
      [...methods],
      suite,
      count,
      limits,
      machine?.memory,
      machine?.count,
      narrow,
      theme(),
    ]);
    if (key !== charted) drawFrontier(question, span, narrow);
    charted = key;
    byId('chart').setAttribute('aria-label', chartLabel(spent));
  }
  showShapes();
}

function drawFrontier(question, span, narrow) {
  const [options] = menu(planning, question);
  const wanted = planning.laws.map((law, place) => ({law, place})).filter(({law}) => question.methods.has(law.name));
  const reach = (along) => wanted.map((one) => ({...one, points: frontier(options, one.law, along)}));
  const along = budgets(...span, Math.min(PER_DECADE, MOST_POINTS / Math.log10(span[1] / span[0])));
  const lines = reach(along).filter(({points}) => points.some(Boolean));
  const turns = crossovers(options, ...lookedAt(planning.span.flops, span[1] / 10)); // as far as the chart goes
  const trials = apart(chartTrials.filter((trial) => question.methods.has(trial.name)));
  chart.setOption(frontierOption(planning, span, lines, trials, turns, narrow, measureName), {notMerge: true});
  lined = narrow ? [] : lines;
  const rows = fewer(ticks(...span), 12);
  frontierTable(rows, reach(rows));
  fill(byId('crossovers'), ...turns.map((one) => element('li', {}, crossoverText(one))));
  byId('chart-means').textContent = chartMeans(turns);
}

function showShapes() {
  const zr = chart.getZr();
  for (const shape of shapes) zr.remove(shape);
  shapes = labelShapes(chart, lined);
  if (current) {
    const {
      budget,
      recipe,
      fits: [best],
    } = current.answer;
    shapes.push(...nowShapes(chart, budget.flops, recipe(0), best.lawPlace));
  }
  for (const shape of shapes) zr.add(shape);
}

function startChart() {
  const made = echarts.init(byId('chart'));
  new ResizeObserver(() => {
    made.resize();
    showFrontierSoon(current?.question);
  }).observe(byId('chart'));
  made.on('click', ({seriesType, data}) => {
    if (seriesType === 'scatter' && data) dialog.show(trialData.trials[data[2]]);
  });
  made.getZr().on('click', ({target, offsetX, offsetY}) => {
    if (target || !made.containPixel('grid', [offsetX, offsetY])) return;
    setBudget(10 ** made.convertFromPixel('grid', [offsetX, offsetY])[0]);
  });
  return made;
}

// ---- in words

function chartLabel(spent) {
  const said = 'Loss against training compute, one line per method.';
  if (!current) return said;
  const best = current.answer.recipe(0);
  return `${said} At ${plain(spent)} FLOP ${best.model} with ${best.method} is expected to reach ${lossText(best.loss)}.`;
}

function chartMeans(turns) {
  const many = chartTrials.length > MANY ? ', one where several lie on one another' : '';
  return [
    content.trials.count ? `Points: trials, pale where they entered no law${many}.` : '',
    'Lines: the law with the best model at each budget, dashed beyond the largest trial; bands: 90 % interval of the law.',
    turns.length ? 'Grey: where the best method changes, 90 % interval.' : '',
    'The mark: the recipe, with where 90 % of runs fall. Click a point to open its trial, anywhere else to set the budget.',
  ]
    .filter(Boolean)
    .join(' ');
}

function crossoverText({flops, low, high, below, above}) {
  const times = beyond(flops, planning.span.flops);
  const far = times > 1 ? `; ${g(times, 2)} times beyond the evidence` : '';
  const said = (value) => g(value, 2).replace('e+', 'e');
  const ends =
    low === null && high === null
      ? '90 %: could be anywhere'
      : low === null
        ? `90 %: below ${said(high)}`
        : high === null
          ? `90 %: above ${said(low)}`
          : `90 %: ${said(low)} to ${said(high)}`;
  return `The best method changes: ${below} up to ${said(flops)} FLOP (${ends}${far}), then ${above}.`;
}

function trialTip(place) {
  const trial = trialData.trials[place];
  return tip(
    `${shortened(trial.model, 60)}, ${shortened(trial.method, 60)}`,
    `${content.measure} ${lossText(trial.measured)} at ${plain(trial.flops)} FLOP`,
    `learning rate ${g(trial.lr, 3)}, ${whole(trial.steps)} steps`,
    shortened(trial.excluded || 'in its law', 120),
  );
}

/** along: the budgets of the points of every line. */
function frontierTable(along, lines) {
  const said = (point) =>
    point ? `${lossText(point.loss)} (${lossText(point.low)} to ${lossText(point.high)}), ${point.model}` : 'too small';
  const rows = along.map((budget, i) =>
    element(
      'tr',
      {},
      element('th', {scope: 'row'}, `${plain(budget)} FLOP`),
      ...lines.map(({points}) => cell(words(said(points[i])), 'number')),
    ),
  );
  fill(byId('frontier-table'), head(['budget', ...lines.map(({law}) => law.label)], 1), element('tbody', {}, ...rows));
}

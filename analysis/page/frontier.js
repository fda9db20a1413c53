/* The chart of the frontier and what lies over it, and the same as a table. */

import {
  MANY, MOST_POINTS, PER_DECADE, apart, changeAreas, chartSpan, fewer, frontierOption, labelShapes, nowShapes, theme, ticks,
} from './charts.js';
import {setBudget, showMethods} from './controls.js';
import {byId, cell, element, fill, head, lossText, methodText, plain, words} from './dom.js';
import {FARTHEST, budget_grid, crossovers, frontier, ranked, searched_budgets} from './planner/generated.js';
import {consider} from './planner/plan.js';
import {book, current, lawOf, measureName, trialData} from './state.js';

const NARROW = 560; // pixels, under which the lines have no names at their ends

let chart = null;
let charted = ''; // what the lines of the chart were drawn for
let lined = []; // the lines that the chart shows, where there is room for their names
let shapes = []; // over the chart: these names, and the mark of the answer
let awaited = null; // what the chart is to show at the next frame
let openTrial = null; // called with a trial that is clicked

/** Trials that the chart shows. */
export const chartTrials = trialData.trials
  .filter((trial) => trial.measured > 0 && trial.flops > 0 && lawOf.has(trial.method))
  .map(({place, flops, measured, method, excluded}) => ({
    place,
    flops,
    loss: measured,
    method,
    name: lawOf.get(method).method.name,
    entered: !excluded,
  }));

export function startFrontier(open) {
  openTrial = open;
}

/** Once a frame, however fast the slider moves. */
export function showFrontierSoon(question) {
  if (!awaited)
    requestAnimationFrame(() => {
      showFrontier(awaited.question);
      awaited = null;
    });
  awaited = {question};
}

/** The book whose lines the chart shows: that of the answer. */
const drawnBook = (question) => current?.answer.laws ?? question.books[0];

/** The lines are drawn anew where a control changes them; the budget alone moves the mark. */
function showFrontier(question) {
  chart ??= startChart();
  if (question) {
    const drawn = drawnBook(question);
    const spent = current ? current.answer.budget.flops : drawn.measured.flops[1];
    const span = chartSpan(drawn, spent);
    const narrow = byId('chart').clientWidth < NARROW;
    const {methods, suite, count, limits, machine, conditions, tokens_per_pair: tokens, books} = question;
    const asks = [methods, suite, count, limits, machine?.memory, machine?.count, conditions, tokens];
    const key = JSON.stringify([drawn.name, books.length, span, asks, narrow, theme()]);
    if (key !== charted) drawFrontier(drawn, question, span, narrow);
    charted = key;
    byId('chart').setAttribute('aria-label', chartLabel(spent));
  }
  showShapes();
}

function drawFrontier(drawn, question, span, narrow) {
  const [considered] = consider(drawn, question);
  const of = ({place}) => considered.filter((candidate) => candidate.law.place === place);
  const asks = (name) => !question.methods.length || question.methods.includes(name);
  const wanted = drawn.laws.filter((law) => asks(law.method.name));
  const along = budget_grid(...span, Math.min(PER_DECADE, MOST_POINTS / Math.log10(span[1] / span[0])));
  const lines = wanted
    .map((law) => ({law, candidates: of(law)}))
    .map(({law, candidates}) => ({law, points: along.map((budget) => pointOf(candidates, budget).point)}))
    .filter(({points}) => points.some(Boolean));
  const changes = crossovers(considered, ...searched_budgets(drawn.measured.flops, span[1] / 10)); // as the chart goes
  const trials = drawn.name === book.name ? apart(chartTrials.filter((trial) => asks(trial.name))) : [];
  chart.setOption(frontierOption(drawn, span, lines, trials, changes, narrow, measureName), {notMerge: true});
  lined = narrow ? [] : lines;
  frontierTable(fewer(ticks(...span), 12), wanted, of);
  byId('chart-means').textContent = chartMeans(drawn, trials, changeAreas(changes, span));
  showMethods(drawn);
}

function showShapes() {
  const zr = chart.getZr();
  for (const shape of shapes) zr.remove(shape);
  shapes = labelShapes(chart, lined);
  if (current) {
    const {budget, recipe} = current.answer;
    shapes.push(...nowShapes(chart, budget.flops, recipe, recipe.trial.method.label));
  }
  for (const shape of shapes) zr.add(shape);
}

function startChart() {
  const started = echarts.init(byId('chart'));
  new ResizeObserver(() => {
    started.resize();
    showFrontierSoon(current?.question);
  }).observe(byId('chart'));
  started.on('click', ({seriesType, data}) => {
    if (seriesType === 'scatter' && data) openTrial(trialData.trials[data[2]]);
  });
  started.getZr().on('click', ({target, offsetX, offsetY}) => {
    if (target || !started.containPixel('grid', [offsetX, offsetY])) return;
    setBudget(10 ** started.convertFromPixel('grid', [offsetX, offsetY])[0]);
  });
  return started;
}

// ---- in words

function chartLabel(spent) {
  const sentence = 'Loss against training compute, one line per method.';
  if (!current) return sentence;
  const {trial, loss} = current.answer.recipe;
  const reaches = loss === null ? 'is chosen; its loss is not predicted' : `is expected to reach ${lossText(loss)}`;
  return `${sentence} At ${plain(spent)} FLOP ${trial.model} with ${methodText(trial.method.label)} ${reaches}.`;
}

function chartMeans(drawn, trials, areas) {
  const many = chartTrials.length > MANY ? ', one where several lie on one another' : '';
  return [
    trials.length ? `Points: trials, pale where they entered no law${many}.` : '',
    `Lines: the law${drawn.name === book.name ? '' : ` of ${drawn.name}`} with the best model at each budget, dashed beyond the largest budget ${drawn.published ? 'published' : 'measured'}, up to ${10 ** FARTHEST}x outside the evidence; bands: 90 % interval of the law.`,
    areas.length ? 'Grey: where the best method changes, 90 % interval.' : '',
    'The mark: the recipe with its 90 % prediction interval.',
    trials.length
      ? 'Click a point to open its trial, anywhere else to set the budget.'
      : 'Click anywhere to set the budget.',
  ]
    .filter(Boolean)
    .join(' ');
}

/** What the candidates of a law reach with a budget, and with which of them; without a point, why there is none. */
function pointOf(candidates, budget) {
  const [best] = ranked(candidates, budget);
  if (!best) {
    const least = Math.min(...candidates.map((candidate) => candidate.least_flops()));
    return {point: null, why: budget < least ? 'too small' : 'no model fits'};
  }
  if (best.extrapolation(best.tokens(budget)).decades > FARTHEST) return {point: null, why: 'not predicted'};
  return {point: frontier(candidates, [budget])[0], model: best.model.name};
}

/** The lines at a few budgets. of: the candidates of a law. */
function frontierTable(budgets, laws, of) {
  const text = (law, budget) => {
    const {point, model, why} = pointOf(of(law), budget);
    if (!point) return why;
    const ends = `${lossText(point.low)} to ${lossText(point.high)}`;
    return `${lossText(point.loss)} (${ends}), ${model}`;
  };
  const rows = budgets.map((budget) =>
    element(
      'tr',
      {},
      element('th', {scope: 'row'}, `${plain(budget)} FLOP`),
      ...laws.map((law) => cell(words(text(law, budget)), 'number')),
    ),
  );
  fill(byId('frontier-table'), head(['budget', ...laws.map((law) => law.label)], 1), element('tbody', {}, ...rows));
}

/* Charts: options for ECharts. Both axes hold log10 of what they show, so that bands may be stacked on them. */

import {element, lossText, plain, shortened, whole} from './dom.js';
import {colourOf, filled, markOf} from './looks.js';
import {short} from './planner/generated.js';
import {g} from './planner/python.js';
import {content, trialData} from './state.js';

export const PER_DECADE = 12; // points of a frontier line
export const MOST_POINTS = 80; // of it altogether
const EXTRAPOLATED = 100; // the chart goes on so many times beyond the measured budgets
const GRID = {left: 58, right: 16, top: 12, bottom: 46}; // pixels around the axes
const LABELS = 150; // pixels to the right of the lines, where their names stand
const LABEL_GAP = 16; // pixels from name to name
export const MANY = 2000; // trials; of more, those that would lie on one another are drawn once

export function theme() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(
    ['ink', 'muted', 'line', 'edge', 'panel', 'accent'].map((name) => [
      name,
      style.getPropertyValue(`--${name}`).trim(),
    ]),
  );
}

/** Values to write at a logarithmic axis from low to high: decades, or steps that read well where there are few. */
export function ticks(low, high) {
  for (const steps of [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 6, 8]]) {
    const values = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
      values.push(...steps.map((step) => step * 10 ** power).filter((value) => value >= low && value <= high));
    if (values.length >= 4) return values;
  }
  const rough = (high - low) / 5;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 5, 10].find((factor) => factor * unit >= rough);
  const first = Math.ceil(low / step);
  return Array.from({length: Math.max(0, Math.floor(high / step) - first + 1)}, (_, i) => (first + i) * step);
}

/** Every n-th, so that at most `most` are left. */
export const fewer = (values, most) => values.filter((_, i) => i % Math.ceil(values.length / most) === 0);

export function logAxis(name, low, high, values, text, colours) {
  const at = values.map(Math.log10);
  return {
    type: 'value',
    min: Math.log10(low),
    max: Math.log10(high),
    name,
    nameLocation: 'middle',
    nameTextStyle: {color: colours.muted, fontSize: 12},
    axisLabel: {
      customValues: at,
      formatter: (place) => text(10 ** place),
      color: colours.muted,
      fontSize: 12,
      hideOverlap: true,
    },
    axisTick: {customValues: at, show: true, lineStyle: {color: colours.edge}},
    axisLine: {show: true, lineStyle: {color: colours.edge}, onZero: false},
    splitLine: {show: true, lineStyle: {color: colours.line}},
  };
}

export const base = (colours) => ({
  animation: false,
  textStyle: {fontFamily: 'system-ui, "Segoe UI", Roboto, sans-serif', color: colours.ink},
  tooltip: {
    trigger: 'item',
    confine: true,
    className: 'tip',
    backgroundColor: colours.panel,
    borderColor: colours.edge,
    textStyle: {color: colours.ink, fontSize: 13},
    extraCssText: 'white-space: normal; max-width: 17rem;',
  },
});

export function tip(title, ...lines) {
  return element('div', {}, element('b', {}, title), ...lines.map((line) => element('div', {}, line)));
}

/** Where the frontier chart begins and ends: the measured budgets, and the asked one. FLOP. */
export function chartSpan(book, budget) {
  const [low, high] = book.measured.flops;
  return [Math.min(low, budget) / 2, Math.max(high * EXTRAPOLATED, budget * 3)];
}

/** lines: [{law, points}], points as `frontier` gives them. trials: [{place, flops, loss, method, entered}].
    changes: as `crossovers` gives them. */
export function frontierOption(book, span, lines, trials, changes, narrow, measureName) {
  const colours = theme();
  const largestMeasured = book.measured.flops[1];
  const [low, high] = lossSpan(lines, trials);
  return {
    ...base(colours),
    grid: {...GRID, right: narrow ? GRID.right : LABELS},
    xAxis: {
      ...logAxis('training compute, FLOP', ...span, fewer(ticks(...span), narrow ? 4 : 9), plain, colours),
      nameGap: 28,
    },
    yAxis: {...logAxis(measureName, low, high, ticks(low, high), (value) => g(value, 3), colours), nameGap: 40},
    series: [
      ...lines.flatMap((line) => lawSeries(line, largestMeasured)),
      ...book.laws.flatMap(({label}) => trialSeries(label, trials, colours)),
      {
        type: 'line',
        data: [],
        silent: true,
        markLine: {
          silent: true,
          symbol: 'none',
          animation: false,
          lineStyle: {color: colours.edge, type: 'dotted', width: 1.5},
          label: {formatter: book.published ? 'largest published' : 'largest trial', position: 'insideEndTop', color: colours.muted, fontSize: 12},
          data: [{xAxis: Math.log10(largestMeasured)}],
        },
        markArea: {
          silent: true,
          animation: false,
          itemStyle: {color: colours.edge, opacity: 0.22},
          data: changeAreas(changes, span),
        },
      },
    ],
  };
}

/** Where crossovers may lie, as far as the chart shows it. */
export function changeAreas(changes, [left, right]) {
  const inside = changes.map(({low, high}) => [Math.max(low ?? left, left), Math.min(high ?? right, right)]);
  // One that covers the chart says nothing on it.
  const told = inside.filter(([low, high]) => low < high && (low > left || high < right));
  return told.map((ends) => ends.map((value) => ({xAxis: Math.log10(value)})));
}

function lossSpan(lines, trials) {
  const losses = [
    ...lines.flatMap(({points}) => points.filter(Boolean).map((point) => point.loss)),
    ...trials.filter((trial) => trial.entered).map((trial) => trial.loss),
  ];
  if (!losses.length) return [1, 10];
  const low = losses.reduce((a, b) => Math.min(a, b));
  const high = losses.reduce((a, b) => Math.max(a, b));
  const room = Math.max((high / low) ** 0.06, 1.02);
  return [low / room, high * room];
}

/** One law: a line, dashed beyond the measured budgets, and its band. Budgets it cannot train are gaps. */
function lawSeries({law, points}, largestMeasured) {
  const {label} = law;
  const colour = colourOf(label);
  const row = (point, value) => [Math.log10(point.budget), value];
  const known = points.filter(Boolean);
  const within = known.filter((point) => point.budget <= largestMeasured);
  const after = known.filter((point) => point.budget > largestMeasured);
  const stack = `band ${label}`;
  const line = {
    type: 'line',
    showSymbol: false,
    symbol: 'circle',
    symbolSize: 7,
    z: 3,
    itemStyle: {color: colour},
    emphasis: {disabled: true},
    triggerLineEvent: true,
    tooltip: {formatter: () => tip(law.label, 'the law, with the best model at each budget')},
  };
  return [
    {
      type: 'line',
      stack,
      stackStrategy: 'all',
      data: known.map((point) => row(point, Math.log10(point.low))),
      showSymbol: false,
      lineStyle: {opacity: 0},
      silent: true,
      z: 1,
    },
    {
      type: 'line',
      stack,
      stackStrategy: 'all',
      data: known.map((point) => row(point, Math.log10(point.high / point.low))),
      showSymbol: false,
      lineStyle: {opacity: 0},
      areaStyle: {color: colour, opacity: 0.14},
      silent: true,
      z: 1,
    },
    {...line, data: within.map((point) => row(point, Math.log10(point.loss))), lineStyle: {color: colour, width: 2}},
    {
      ...line,
      data: [...within.slice(-1), ...after].map((point) => row(point, Math.log10(point.loss))),
      lineStyle: {color: colour, width: 2, type: [6, 4]},
    },
  ];
}

/** Of many trials one for each method and place of the chart, those that entered a law first. */
export function apart(trials) {
  if (trials.length <= MANY) return trials;
  const fine = (value) => Math.round(60 * Math.log10(value));
  const places = new Map();
  for (const trial of [...trials].sort((a, b) => b.entered - a.entered)) {
    const place = `${trial.method} ${fine(trial.flops)} ${fine(trial.loss ** 4)}`;
    if (!places.has(place)) places.set(place, trial);
  }
  return [...places.values()];
}

/** Trials of a method: those that entered its law strong, the others pale. */
function trialSeries(label, trials, colours) {
  const mine = trials.filter((trial) => trial.method === label);
  const series = (some, opacity) => ({
    type: 'scatter',
    name: label,
    symbol: `path://${markOf(label)}`,
    symbolSize: 9,
    z: 4,
    cursor: 'pointer',
    itemStyle: {...filled(label, colours.panel), opacity},
    data: some.map((trial) => [Math.log10(trial.flops), Math.log10(trial.loss), trial.place]),
    tooltip: {formatter: ({data}) => trialTip(data[2])},
  });
  return [
    series(
      mine.filter((trial) => !trial.entered),
      0.3,
    ),
    series(
      mine.filter((trial) => trial.entered),
      0.95,
    ),
  ];
}

/** Names beside the chart, as high as the lines end, as little apart from them as need be. */
export function labelShapes(chart, lines) {
  const colours = theme();
  const above = {zlevel: 1, silent: true};
  const ends = lines
    .map(({law, points}) => {
      const last = points.findLast(Boolean);
      const [, y] = chart.convertToPixel('grid', [Math.log10(last.budget), Math.log10(last.loss)]);
      return {x: chart.getWidth() - LABELS + 10, y, label: law.label};
    })
    .sort((a, b) => a.y - b.y);
  spread(ends, GRID.top, chart.getHeight() - GRID.bottom);
  return ends.flatMap(({x, y, label}) => [
    echarts.graphic.makePath(
      markOf(label),
      {...above, style: drawn(label, colours.panel)},
      {x, y: y - 4.5, width: 9, height: 9},
    ),
    new echarts.graphic.Text({
      ...above,
      style: {text: shortened(label, 20), x: x + 14, y, verticalAlign: 'middle', fill: colours.ink, font: '12px system-ui, sans-serif'},
    }),
  ]);
}

/** How a mark is drawn over a chart. */
const drawn = (label, ground) => {
  const {color, borderColor, borderWidth} = filled(label, ground);
  return {fill: color, stroke: borderColor, lineWidth: borderWidth, strokeNoScale: true};
};

/** Pushes places, in order from the top, apart: down first, then up from the lower end. */
function spread(places, top, bottom) {
  places.forEach((one, i) => {
    one.y = Math.max(one.y, i ? places[i - 1].y + LABEL_GAP : top);
  });
  let limit = bottom;
  for (const one of [...places].reverse()) {
    one.y = Math.min(one.y, limit);
    limit = one.y - LABEL_GAP;
  }
}

/** The asked budget and the recipe's expected loss with its interval, where there is a loss: shapes on a layer of their
    own, so that the slider draws nothing else anew. */
export function nowShapes(chart, budget, recipe, label) {
  const colours = theme();
  const above = {zlevel: 1, silent: true};
  const at = (loss) => chart.convertToPixel('grid', [Math.log10(budget), Math.log10(loss)]);
  const line = (x, y1, y2, style) => new echarts.graphic.Line({...above, shape: {x1: x, x2: x, y1, y2}, style});
  const top = GRID.top;
  const bottom = chart.getHeight() - GRID.bottom;
  const [x, y] = at(recipe.loss ?? 1);
  const asked = line(x, top, bottom, {stroke: colours.accent, lineWidth: 1.5, opacity: 0.7});
  if (recipe.loss === null) return [asked];
  const [, low] = at(recipe.low);
  const [, high] = at(recipe.high);
  const inside = (place) => Math.min(bottom, Math.max(top, place));
  const mark = echarts.graphic.makePath(
    markOf(label),
    {...above, style: {fill: colourOf(label), stroke: colours.ink, lineWidth: 2, strokeNoScale: true}},
    {x: x - 8, y: y - 8, width: 16, height: 16},
  );
  return [
    asked,
    line(x, inside(low), inside(high), {stroke: colours.ink, lineWidth: 3, lineCap: 'round'}),
    mark,
  ];
}

export function trialTip(place) {
  const trial = trialData.trials[place];
  return tip(
    `${shortened(trial.model, 60)}, ${shortened(trial.method, 60)}`,
    `${content.measure} ${lossText(trial.measured)} at ${plain(trial.flops)} FLOP`,
    `learning rate ${g(trial.lr, 3)}, ${whole(trial.steps)} steps`,
    shortened(trial.excluded || 'in its law', 120),
  );
}

/** The training loss of one trial; held: its held-out loss, or null. */
/** label: of the trial's method. */
export function curveOption(steps, losses, held, label) {
  const colours = theme();
  const positive = losses.filter((loss) => loss > 0 && Number.isFinite(loss));
  const all = held > 0 ? [...positive, held] : positive;
  const low = Math.min(...all) / 1.04;
  const high = Math.max(...all) * 1.04;
  return {
    ...base(colours),
    grid: {left: 56, right: 18, top: 14, bottom: 44},
    xAxis: {
      type: 'value',
      name: 'optimiser steps',
      nameLocation: 'middle',
      nameGap: 28,
      min: 0,
      max: steps[steps.length - 1],
      nameTextStyle: {color: colours.muted, fontSize: 12},
      axisLabel: {color: colours.muted, hideOverlap: true, formatter: short},
      axisLine: {onZero: false, lineStyle: {color: colours.edge}},
      splitLine: {show: false},
      splitNumber: 4,
    },
    yAxis: {
      ...logAxis('training loss, nats per pair', low, high, ticks(low, high), (value) => g(value, 3), colours),
      nameGap: 38,
    },
    series: [
      {
        type: 'line',
        showSymbol: steps.length < 60,
        symbolSize: 4,
        data: steps.map((step, i) => [step, losses[i] > 0 ? Math.log10(losses[i]) : null]),
        lineStyle: {color: colourOf(label), width: 2},
        itemStyle: {color: colourOf(label)},
        tooltip: {formatter: ({data}) => tip(`step ${whole(data[0])}`, `${g(10 ** data[1], 4)} nats per pair`)},
        markLine:
          held > 0
            ? {
                symbol: 'none',
                silent: true,
                animation: false,
                lineStyle: {color: colours.edge, type: 'dashed'},
                label: {formatter: `held out ${g(held, 4)}`, position: 'insideEndTop', color: colours.ink},
                data: [{yAxis: Math.log10(held)}],
              }
            : undefined,
      },
    ],
  };
}

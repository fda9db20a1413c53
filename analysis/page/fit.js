/* How well the laws fit: what they said of larger runs that they had not seen, and what they leave unexplained. */

import {byId, byNumbers, cell, element, fill, head, words} from './dom.js';
import {markImage} from './looks.js';
import {explained} from './meanings.js';
import {NORMAL} from './planner/generated.js';
import {g, percent} from './planner/python.js';
import {residualOption} from './residuals.js';
import {book, trialData} from './state.js';

let drawing = null; // the chart of residuals

/** Trials with what their law says of them. */
export const residuals = trialData.trials.filter(({predicted, measured}) => predicted > 0 && measured > 0);

export function setUpFit(openTrial) {
  byId('fit').hidden = !book || Boolean(book.published);
  if (byId('fit').hidden) return;
  fill(byId('fit-table'), fitHead(), element('tbody', {}, ...byNumbers(book.laws, (law) => law.label).map(fitRow)));
  byId('fit-means').textContent = fitSentence();
  byId('residuals').hidden = !residuals.length;
  if (!residuals.length) return;
  drawing = echarts.init(byId('residuals'));
  drawing.on('click', ({data}) => data && openTrial(trialData.trials[data[2]]));
  new ResizeObserver(() => {
    drawing.resize();
    showFit();
  }).observe(byId('residuals'));
  showFit();
}

/** Half the width of the band where 90 % of runs should lie by the laws' own noise: a share of the loss. */
const usualNoise = () => {
  const sorted = book.laws.map(({noise}) => NORMAL * noise).sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
};

/** Drawn anew when the colours or the room change. */
export function showFit() {
  if (!drawing) return;
  const noise = usualNoise();
  const narrow = byId('residuals').clientWidth < 560;
  drawing.setOption(residualOption(residuals, noise, narrow), {notMerge: true});
  const inside = residuals.filter(({measured, predicted}) => Math.abs(measured / predicted - 1) <= noise).length;
  byId('residuals').setAttribute(
    'aria-label',
    `Measured over predicted loss of ${residuals.length} trials against training compute; ${inside} lie within ${percent(noise, 1)}`,
  );
}

const known = (value) => value !== null && value !== undefined;

/** What laws of smaller runs said of larger ones, in a sentence; laws that share a fit share it. */
function fitSentence() {
  const tested = new Map(book.laws.filter(({backtest}) => known(backtest.error)).map((law) => [law.backtest.error, law]));
  if (!tested.size) return 'There were too few sizes or budgets to leave the larger ones out and predict them.';
  const parts = [...tested.values()].map(({backtest: {predicted, error, coverage}}) => {
    const inside = known(coverage) ? `; ${percent(coverage, 0)} lay within the 90 % interval` : '';
    return `Laws of the smaller runs were asked about ${predicted} larger ones that they had not seen: ${percent(error, 1)} off on average${inside}.`;
  });
  return `${parts.join(' ')} Below, each point is a trial: measured over predicted loss. A trend is what a law misses.`;
}

function fitHead() {
  const row = head(['method', 'law', 'runs', 'backtest', 'noise', 'drift a decade'], 2);
  const [, law, , backtest, , drift] = row.querySelectorAll('th');
  fill(law, explained('law family'));
  fill(backtest, explained('backtest'));
  fill(drift, explained('drift', 'drift a decade'));
  return row;
}

function fitRow(law) {
  const families = Object.entries(law.weights).filter(([, weight]) => weight >= 0.005);
  const form = families.length === 1 ? families[0][0] : families.map(([name, weight]) => `${name} ${g(weight, 2)}`).join(', ');
  return element(
    'tr',
    {},
    cell(element('span', {class: 'mark'}, markImage(law.label), words(law.label))),
    cell(form, 'long'),
    ...[
      String(law.rows),
      known(law.backtest.error) ? `${percent(law.backtest.error, 1)} off` : 'none',
      percent(law.noise, 1),
      known(law.drift) ? percent(law.drift, 1) : 'assumed',
    ].map((text) => cell(text, 'number')),
  );
}

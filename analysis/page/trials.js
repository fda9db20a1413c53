/* Trials as records: read from columns, sorted and filtered. */

import {lossText, numberText, plain, whole} from './dom.js';
import {unpacked} from './planner/book.js';
import {short} from './planner/generated.js';

/** The trials as objects with names; numbers that are missing are NaN. */
export function readTrials(columns) {
  const floats = (packed) =>
    Object.fromEntries(Object.entries(packed).map(([name, text]) => [name, unpacked(text, 'f')]));
  const texts = (name) => columns[name].places.map((place) => columns[name].words[place]);
  const [model, method, status, reason, excluded] = ['model', 'method', 'status', 'reason', 'excluded'].map(texts);
  const {lr, loss, measured, predicted, start, accuracy, flops, tokens, epochs, seconds} = floats(columns.numbers);
  const trials = columns.key.map((key, i) => ({
    place: i,
    key,
    steps: columns.steps[i],
    seed: columns.seed[i],
    batch: columns.batch[i],
    model: model[i],
    method: method[i],
    status: status[i],
    reason: reason[i],
    excluded: excluded[i],
    why: reason[i] || excluded[i],
    lr: lr[i],
    loss: loss[i],
    measured: measured[i],
    predicted: predicted[i],
    start: start[i],
    accuracy: accuracy[i],
    flops: flops[i],
    tokens: tokens[i],
    epochs: epochs[i],
    seconds: seconds[i],
  }));
  return {trials, scores: floats(columns.scores)};
}

/** id: field of a trial. text: how it is shown. number: sorted as one, and to the right. */
export const COLUMNS = [
  {id: 'key', title: 'trial', text: (trial) => trial.key.slice(0, 8)},
  {id: 'model', title: 'model', text: (trial) => trial.model},
  {id: 'method', title: 'method', text: (trial) => trial.method},
  {id: 'flops', title: 'FLOP', number: true, text: (trial) => (trial.flops > 0 ? plain(trial.flops) : '')},
  {id: 'loss', title: 'loss', number: true, text: (trial) => (Number.isFinite(trial.loss) ? lossText(trial.loss) : '')},
  {id: 'lr', title: 'learning rate', number: true, text: (trial) => numberText(trial.lr, 3)},
  {id: 'steps', title: 'steps', number: true, text: (trial) => whole(trial.steps)},
  {id: 'tokens', title: 'tokens', number: true, text: (trial) => (trial.tokens > 0 ? short(trial.tokens) : '')},
  {id: 'batch', title: 'batch size', number: true, text: (trial) => whole(trial.batch)},
  {id: 'seed', title: 'seed', number: true, text: (trial) => String(trial.seed)},
  {
    id: 'seconds',
    title: 'seconds',
    number: true,
    text: (trial) => (trial.seconds > 0 ? numberText(trial.seconds, 3) : ''),
  },
  {id: 'status', title: 'status', text: (trial) => trial.status},
  {id: 'why', title: 'excluded because', text: (trial) => trial.why, long: true},
];

/** Sorted by a column; what is missing comes last either way. */
export function sortedBy(trials, id, descending) {
  const {number} = COLUMNS.find((column) => column.id === id);
  const sign = descending ? -1 : 1;
  const compared = number
    ? (a, b) => Number.isNaN(a[id]) - Number.isNaN(b[id]) || sign * (a[id] - b[id]) || 0
    : (a, b) => (a[id] === '') - (b[id] === '') || sign * (a[id] < b[id] ? -1 : a[id] > b[id] ? 1 : 0);
  return [...trials].sort(compared);
}

export function matching(trials, {text, model, method, status}) {
  const wanted = text.trim().toLowerCase();
  return trials.filter(
    (trial) =>
      (!model || trial.model === model) &&
      (!method || trial.method === method) &&
      (!status || trial.status === status) &&
      (!wanted ||
        [trial.key, trial.model, trial.method, trial.status, trial.why].some((field) =>
          field.toLowerCase().includes(wanted),
        )),
  );
}

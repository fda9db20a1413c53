import assert from 'node:assert/strict';
import test from 'node:test';

import {COLUMNS, matching, readTrials, sortedBy} from '../../../analysis/page/trials.js';

const packed = (values) => Buffer.from(Float32Array.from(values).buffer).toString('base64');
const NUMBERS = ['lr', 'loss', 'measured', 'predicted', 'start', 'accuracy', 'flops', 'tokens', 'epochs', 'seconds'];
const words = (...texts) => ({words: [...new Set(texts)], places: texts.map((text) => [...new Set(texts)].indexOf(text))});

const {trials, scores} = readTrials({
  key: ['a1', 'b2', 'c3'],
  model: words('nano', 'pico', 'nano'),
  method: words('full', 'full', 'lora rank 8'),
  status: words('done', 'failed', 'done'),
  reason: words('', 'out of memory', ''),
  excluded: words('', '', 'too short'),
  steps: [10, 20, 30],
  seed: [0, 1, 2],
  batch: [24, 24, 64],
  numbers: {...Object.fromEntries(NUMBERS.map((name) => [name, packed([1, 2, 3])])), loss: packed([0.5, NaN, 0.25])},
  scores: {ndcg: packed([0.5, NaN, 0.75])},
});
const ask = {text: '', model: '', method: '', status: ''};
const keys = (found) => found.map((trial) => trial.key);

test('columns become trials', () => {
  assert.deepEqual(trials.map(({model, why, steps}) => [model, why, steps]), [
    ['nano', '', 10], ['pico', 'out of memory', 20], ['nano', 'too short', 30],
  ]);
  assert.equal(scores.ndcg[2], 0.75);
});

test('what is missing comes last, either way', () => {
  assert.deepEqual(keys(sortedBy(trials, 'loss', false)), ['c3', 'a1', 'b2']);
  assert.deepEqual(keys(sortedBy(trials, 'loss', true)), ['a1', 'c3', 'b2']);
  assert.deepEqual(keys(sortedBy(trials, 'why', false)), ['b2', 'c3', 'a1']);
});

test('filters are met together', () => {
  assert.deepEqual(keys(matching(trials, {...ask, text: ' MEMORY '})), ['b2']);
  assert.deepEqual(keys(matching(trials, {...ask, model: 'nano', status: 'done'})), ['a1', 'c3']);
  assert.deepEqual(keys(matching(trials, {...ask, method: 'lora rank 8', text: 'b2'})), []);
});

test('every column has a text for every trial', () => {
  for (const {text} of COLUMNS) for (const trial of trials) assert.equal(typeof text(trial), 'string');
});

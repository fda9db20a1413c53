import assert from 'node:assert/strict';
import test from 'node:test';

import {
  either, exponential, fixed, g, get, grouped, has, kept, list, min, percent, range, replace, round, sorted, truth,
  unique, zip,
} from '../../../analysis/page/planner/python.js';

test('halves go to the even side, as in Python', () => {
  assert.deepEqual([0.5, 1.5, 2.5, -0.5].map(round), [0, 2, 2, -0]);
  assert.deepEqual([0.125, 0.375, 2.675].map((value) => fixed(value, 2)), ['0.12', '0.38', '2.67']);
});

test('numbers are printed as by :g, :e, :% and :,', () => {
  assert.deepEqual([1e15, 123456, 0.00001234, 0, Infinity].map((value) => g(value, 3)), [
    '1e+15', '1.23e+05', '1.23e-05', '0', 'inf',
  ]);
  assert.deepEqual([g(1.5, 3), g(1.5, 3, true), exponential(12345, 0), percent(0.125, 0)], ['1.5', '1.50', '1e+04', '12%']);
  assert.equal(grouped(1234567.891, 2), '1,234,567.89');
});

test('what is empty in Python is false', () => {
  assert.deepEqual([[], '', 0, null, undefined, {}, false].map(truth), Array(7).fill(false));
  assert.deepEqual([[0], 'a', 0.1, {a: 0}, new (class Record {})()].map(truth), Array(5).fill(true));
  assert.deepEqual(either([], () => 'other'), 'other');
});

test('lists, dicts and sets', () => {
  assert.deepEqual(list({b: 1, a: 2}), ['b', 'a']);
  assert.deepEqual(zip('NDSU', [1, 2]).slice(0, 2), [['N', 1], ['D', 2]]);
  assert.deepEqual(range(2, 5), [2, 3, 4]);
  assert.deepEqual(unique([2, 1, 2]), [2, 1]);
  assert.deepEqual([has({a: null}, 'a'), has([1], 1), has(new Set([1]), 2), has('abc', 'bc')], [true, true, false, true]);
  assert.equal(get(JSON.parse('{"__proto__": 3}'), '__proto__'), 3);
  assert.equal(get({}, 'toString', 'none'), 'none');
});

test('the least comes first and equal ones keep their order', () => {
  const records = [{at: 2, name: 'a'}, {at: 1, name: 'b'}, {at: 1, name: 'c'}];
  assert.equal(min(records, {key: (one) => one.at}).name, 'b');
  assert.equal(min([], {default: null}), null);
  assert.deepEqual(sorted(records, {key: (one) => one.at}).map((one) => one.name), ['b', 'c', 'a']);
  assert.deepEqual(sorted([10, 9, 1]), [1, 9, 10]);
  assert.deepEqual(sorted({min: 60, h: 3600, d: 1}, {key: (name) => name.length, reverse: true})[0], 'min');
});

test('a record with another field forgets what it worked out', () => {
  class Box {
    constructor(wide) {
      this.wide = wide;
    }

    get area() {
      return kept(this, 'area', () => this.wide ** 2);
    }
  }
  const box = new Box(3);
  assert.deepEqual([box.area, box.area, replace(box, {wide: 4}).area, box.area], [9, 9, 16, 9]);
});

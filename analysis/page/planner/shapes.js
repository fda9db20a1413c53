/* In place of sweeps: what rests on the shape of a model comes as tables, made by analysis/page/planning.py. */

import {repr} from './python.js';

const shapeOf = (model, method) => method.cells[model.place];

/** FLOPs of a pair that are more in batches of this size than in those of the laws: of logits, and of what is done once a
    step. */
const moreInBatch = ({by_batch: [each, over], own_batch: own}, {batch_size: size}) =>
  each * (size - own) + over * (1 / size - 1 / own);

/** Training FLOPs of `pair`; linear in the share of the batch that is embedded twice. */
export function exact_flops(model, method, pair, second_forward) {
  const shape = shapeOf(model, method);
  const [once, twice] = shape.exact_flops;
  return pair.pairs * (once + (twice - once) * second_forward + moreInBatch(shape, pair));
}

export const FLOPS = {
  exact: exact_flops,
  paper: (model, method, pair) => pair.pairs * shapeOf(model, method).paper_flops,
};

export const forward_flops = (model, work) => work.pairs * model.forward_flops;

/** What book.js read as a Memory. */
export const training_memory = (model, method, mixed = false, recompute = false) =>
  shapeOf(model, method).memory[mixed ? 'mixed' : 'fp32'][Number(recompute)];

export const micro_tokens = (model, kind) => model.micro_tokens[kind];

/** Linear in the share of the batch that is embedded twice. */
export function step_work(model, method, pair, second_forward) {
  const shape = shapeOf(model, method);
  const [once, twice] = shape.step_work;
  const between = ([name, value]) => [name, value + (twice[name] - value) * second_forward];
  const work = Object.fromEntries(Object.entries(once).map(between));
  return {...work, products: work.products + moreInBatch(shape, pair)};
}

export function rate_by_size({model, method}) {
  const {lr: rate, lr_source: source, lr_interval: interval} = shapeOf(model, method);
  if (rate === null) throw new Error(source);
  return {rate, source, interval};
}

export const _log = Math.log;

/** A law with some of its coefficients multiplied. */
export const scaled = (law, factors) =>
  Object.assign(
    Object.create(Object.getPrototypeOf(law)),
    law,
    Object.fromEntries(Object.entries(factors).map(([name, factor]) => [name, law[name] * factor])),
  );

/** The suite of the model, where the laws have not seen it; a page plans for the data of its laws. */
export const unseen_of = (book, model) => model.unseen; // [suite, ""]

const NUMBER = /^\s*\+?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*$/i;

/** A positive finite number, or an error that names the flag, the whole text and what is wanted. */
export function positive(flag, text, wanted, number = text) {
  const value = NUMBER.test(number) ? Number(number) : NaN;
  if (!(value > 0 && Number.isFinite(value))) throw new Error(`${flag} is ${repr(text)}; it must be ${wanted}`);
  return value;
}

/** Of a page, no sweep of batch sizes is at hand but that which its laws know. */
export const bundled = () => null;

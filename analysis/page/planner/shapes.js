/* In place of sweeps: what rests on the shape of a model comes as tables, made by analysis/page/planning.py. */

import {repr} from './python.js';

const shapeOf = (model, method) => method.cells[model.place];

/** FLOPs of a pair of texts by those of a token and of a token's square. */
const ofTexts = ([token, square], pair) => token * pair.tokens + square * pair.sum_sq_lengths;

/** FLOPs of a pair by the size of its batch: of logits, and of what is done once a step. */
const ofBatch = ([each, over], {batch_size: size}) => each * size + over / size;

/** Training FLOPs of `pair`; linear in the share of the batch that is embedded twice. */
export function exact_flops(model, method, pair, second_forward) {
  const shape = shapeOf(model, method);
  const [once, twice] = shape.exact_flops.map((costs) => ofTexts(costs, pair));
  return once + (twice - once) * second_forward + pair.pairs * ofBatch(shape.by_batch, pair);
}

export const FLOPS = {
  exact: exact_flops,
  paper: (model, method, pair) => pair.tokens * shapeOf(model, method).paper_flops,
};

export const forward_flops = (model, work) => ofTexts(model.forward_flops, work);

/** What book.js read as a Memory. */
export const training_memory = (model, method, mixed = false, recompute = false) =>
  shapeOf(model, method).memory[mixed ? 'mixed' : 'fp32'][Number(recompute)];

export const micro_tokens = (model, kind) => model.micro_tokens[kind];

const STEP_WORK = [
  'products', 'attention', 'moved', 'pass_moved', 'step_moved', 'gradients', 'gathered', 'kernels', 'shard_kernels',
];

/** Linear in the share of the batch that is embedded twice. */
export function step_work(model, method, pair, second_forward) {
  const shape = shapeOf(model, method);
  const of = ([own = 0, token = 0, square = 0]) => own + ofTexts([token, square], pair);
  const between = ([once, twice = once]) => of(once) + (of(twice) - of(once)) * second_forward;
  const work = Object.fromEntries(STEP_WORK.map((name, i) => [name, between(shape.step_work[i])]));
  return {...work, products: work.products + ofBatch(shape.by_batch, pair)};
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
export const unseen_of = (book, model) => [book.unseenSuite[model.place], ''];

const NUMBER = /^\s*\+?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*$/i;

/** A positive finite number, or an error that names the flag, the whole text and what is wanted. */
export function positive(flag, text, wanted, number = text) {
  const value = NUMBER.test(number) ? Number(number) : NaN;
  if (!(value > 0 && Number.isFinite(value))) throw new Error(`${flag} is ${repr(text)}; it must be ${wanted}`);
  return value;
}

let beside = null; // the bundled sweep of batch sizes, as far as the page holds it

export const standBeside = (laws) => {
  beside = laws.length ? {laws} : null;
};

/** The bundled sweep that others borrow of: on a page, that of batch sizes. */
export const bundled = () => beside;

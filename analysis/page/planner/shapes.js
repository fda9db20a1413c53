/* In place of sweeps: what rests on the shape of a model comes as tables, made by analysis/page/planning.py. */

import {repr} from './python.js';

const shapeOf = (model, method) => method.cells[model.place];

/** Training FLOPs of `pair`; linear in the share of the batch that is embedded twice. */
export function exact_flops(model, method, pair, second_forward) {
  const [once, twice] = shapeOf(model, method).exact_flops;
  return pair.pairs * (once + (twice - once) * second_forward);
}

export const FLOPS = {
  exact: exact_flops,
  paper: (model, method, pair) => pair.pairs * shapeOf(model, method).paper_flops,
};

export const forward_flops = (model, work) => work.pairs * model.forward_flops;

/** micro_tokens: 0 or 1, all that the planner asks for. */
export const memory_bytes = (model, method, micro_tokens, weight_bytes = 4) =>
  shapeOf(model, method).memory_bytes[weight_bytes][micro_tokens];

export function learning_rate({model, method}) {
  const {lr, lr_source: source} = shapeOf(model, method);
  return [lr, source];
}

export const _log = Math.log;

const NUMBER = /^\s*\+?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*$/i;

/** A positive finite number, or an error that names the flag, the whole text and what is wanted. */
export function positive(flag, text, wanted, number = text) {
  const value = NUMBER.test(number) ? Number(number) : NaN;
  if (!(value > 0 && Number.isFinite(value))) throw new Error(`${flag} is ${repr(text)}; it must be ${wanted}`);
  return value;
}

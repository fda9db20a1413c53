/* planner/recipe.py, in its order, but lazily: beyond the first screen a recipe is worked out when it is shown. */

import {
  CHOICES, Consulted, Limits, REACH, USUAL, _plan, by_regret, check_choices, check_reach, nothing_fits, recipe_of, candidates,
  distinct, feasible,
  led_by, on_machine, read_budget, size_rule, timed,
} from './generated.js';
import {replace} from './python.js';

let last = {book: null, key: ''}; // what was considered: nothing of it rests on the budget

/** question: {budget, machine, limits, methods, models, count}. Every model with every method that the limits allow, and
    those that cannot be. */
export function consider(book, {machine, limits, methods, models, count}) {
  const key = JSON.stringify([machine, limits, methods, models.map((model) => model.place), count]);
  if (last.book === book && last.key === key) return last.found;
  const allowed = new Limits(limits);
  const memory = machine ? Math.min(allowed.memory, machine.memory) : allowed.memory;
  const [mixed, chips] = machine && machine.kind.mixed ? [true, machine.count] : [false, 1];
  const allows = replace(allowed, {memory});
  const [possible, refused] = candidates(book, models, methods, allows, count, chips, mixed, null, 0, '', CHOICES);
  last = {book, key, found: [on_machine(distinct(possible), machine), refused]};
  return last.found;
}

/** The lowest and the highest budget with an answer, in FLOP of the machine's usual rate; null where there is none.
    kind: what the budget is counted in. */
export function budgetsWithAnswer(book, question, kind) {
  const [considered] = consider(book, question);
  const ends = timed(considered, {kind}, question.machine)
    .flatMap((one) => (one.law.batch && one.sizes.length ? one.sizes : [one]))
    .filter(({epoch_steps: steps, limits}) => steps >= limits.min_steps)
    .map((one) => [one.least_flops() / one.relative_speed, mostFlops(one) / one.relative_speed]);
  if (!ends.length) return null;
  const low = Math.min(...ends.map((end) => end[0]));
  const high = Math.min(book.measured.flops[1] * 10 ** REACH, Math.max(...ends.map((end) => end[1])));
  return low < high ? [low, high] : null;
}

/** FLOPs beyond which a training has too many steps; its epochs may end it before. */
const mostFlops = ({serving, epoch_steps: steps, limits, pair, pair_flops: flops}) =>
  steps <= limits.max_steps ? Infinity : serving + limits.max_steps * pair.batch_size * flops;

/** The answer of `plan`, and besides: recipeOf(i) is the recipe of the i-th of `ranked`. Throws where `plan` has an
    error. */
export function plan(book, question) {
  const {machine, count} = question;
  const asked = read_budget(question.budget, machine);
  check_choices(count, 1, asked);
  check_reach([book], asked.flops);
  const [considered, impossible] = consider(book, question);
  const atSpeed = timed(considered, asked, machine);
  const [fits, tooSmall] = feasible(atSpeed, asked.flops);
  const refused = [...impossible, ...tooSmall];
  if (!fits.length) throw new Error(nothing_fits(asked.flops, atSpeed.map((one) => one.at(asked.flops)), refused));
  const byLaw = by_regret(fits, asked.flops);
  const size = size_rule(byLaw, asked.flops);
  const ranked = led_by(size, byLaw);
  const budget = replace(asked, {flops: ranked[0][0].relative_speed * asked.flops});
  const consulted = new Consulted({book, considered, refused, ranked, size, budget, data: {how: ''}});
  const asks = {budget: asked, machine, flops: count, conditions: {}, fixes_batch: false, lr: null, training: () => book.training};
  const recipeOf = (i) => recipe_of(ranked[i][0], asked.flops, asks, book, ranked[i][1]);
  return Object.assign(_plan(consulted, [], asks, USUAL, null), {asked, ranked, recipeOf});
}

/* planner/recipe.py, in its order, but lazily: beyond the first screen a recipe is worked out when it is shown. */

import {
  CHOICES, Consulted, Limits, REACH, Silent, USUAL, _plan, by_evidence, by_regret, candidates, check_choices, check_methods,
  check_reach, cut_by_context, distinct, feasible, implied, lack_pairs, led_by, mean_pair, nearest_of, nothing_fits, on_machine,
  read_budget, recipe_of, size_rule, timed,
} from './generated.js';
import {replace} from './python.js';

const considered = new Map(); // book -> the last question and what was considered: nothing of it rests on the budget

/** Question.training of planner/recipe.py: a page plans for the data of its laws. */
const trainingOf = (book, {conditions}) => ({...book.training, ...conditions, ...implied(conditions), data_hash: ''});

/** Places of the models that a book chooses from. places: of the asked suite; null for its own models. */
const menuOf = (book, places) => places ?? book.known;

/** question: {budget, machine, limits, methods, models, places, count, conditions, tokens_per_pair, lr}, `models` those of
    the page and `places` those of the asked suite among them, null without one. Every model with every method that the
    limits allow, those that cannot be, and what is trained on. */
export function consider(book, question) {
  const {machine, limits, methods, models, places, count, conditions, tokens_per_pair: tokens} = question;
  const menu = menuOf(book, places);
  const key = JSON.stringify([machine, limits, methods, menu, count, conditions, tokens]);
  const last = considered.get(book);
  if (last?.key === key) return last.found;
  const training = trainingOf(book, question);
  const {tokens: counted, sum_sq_lengths: squares} = book.pair;
  const [pair, how] = mean_pair(book, training, counted, squares, tokens ?? cut_by_context(book, training));
  const allowed = new Limits(limits);
  const memory = machine ? Math.min(allowed.memory, machine.memory) : allowed.memory;
  const [mixed, chips] = machine && machine.kind.mixed ? [true, machine.count] : [false, 1];
  const allows = replace(allowed, {memory});
  const sizes = 'batch_size' in conditions ? [] : CHOICES;
  const [possible, refused] = candidates(
    book, menu.map((place) => models[place]), methods, allows, count, chips, mixed, pair, training.context, '', sizes,
  );
  const found = [on_machine(distinct(possible), machine), refused, how.join('; ')];
  considered.set(book, {key, found});
  return found;
}

/** The lowest and the highest budget with an answer, in FLOP of the machine's usual rate; null where there is none.
    kind: what the budget is counted in. */
export function budgetsWithAnswer(books, question, kind) {
  const reach = Math.max(...books.map(({measured}) => measured.flops[1])) * 10 ** REACH; // see check_reach
  const ends = books.flatMap((book) => endsOf(book, question, kind, reach));
  if (!ends.length) return null;
  return [Math.min(...ends.map((end) => end[0])), Math.max(...ends.map((end) => end[1]))];
}

function endsOf(book, question, kind, reach) {
  const {machine, methods} = question;
  const own = new Set(book.laws.flatMap((law) => [law.method.name, law.method.quantized()?.name]));
  if (!menuOf(book, question.places).length || methods.some((name) => !own.has(name))) return [];
  const ends = timed(consider(book, question)[0], {kind}, machine)
    .flatMap((one) => (one.law.batch && one.sizes.length ? one.sizes : [one]))
    .filter(({epoch_steps: steps, limits}) => steps >= limits.min_steps)
    .map((one) => [one.least_flops() / one.relative_speed, mostFlops(one) / one.relative_speed]);
  if (!ends.length) return [];
  const low = Math.min(...ends.map((end) => end[0]));
  const high = Math.min(reach, Math.max(...ends.map((end) => end[1])));
  return low < high ? [[low, high]] : [];
}

/** FLOPs beyond which a training has too many steps; its epochs may end it before. */
const mostFlops = ({serving, epoch_steps: steps, limits, pair, pair_flops: flops}) =>
  steps <= limits.max_steps ? Infinity : serving + limits.max_steps * pair.batch_size * flops;

/** What one law book says. Throws where no candidate fits; `fewPairs` of the error: whether pairs alone are too few. */
function consult(book, question, asked) {
  const {machine, methods} = question;
  check_methods(methods, book);
  if (!menuOf(book, question.places).length)
    throw new Error(
      'None of the measured models was found where this page was made; choose other models under Limits.',
    );
  const [possible, impossible, how] = consider(book, question);
  const atSpeed = timed(possible, asked, machine);
  const [fits, tooSmall] = feasible(atSpeed, asked.flops);
  const refused = [...impossible, ...tooSmall];
  if (!fits.length) {
    const chosen = atSpeed.map((one) => one.at(asked.flops));
    throw Object.assign(new Error(nothing_fits(asked.flops, chosen, refused)), {fewPairs: lack_pairs(chosen)});
  }
  const byLaw = by_regret(fits, asked.flops);
  const size = size_rule(byLaw, asked.flops);
  const ranked = led_by(size, byLaw);
  const budget = replace(asked, {flops: ranked[0][0].relative_speed * asked.flops});
  return new Consulted({book, considered: possible, refused, ranked, size, budget, data: {how}});
}

/** What the nearest of the law books says, and what the others would have said. */
function nearest(books, question, asked) {
  const [said, silent] = [[], []];
  for (const book of by_evidence(books)) {
    try {
      said.push(consult(book, question, asked));
    } catch (error) {
      if (error.constructor !== Error) throw error; // a fault of the page and no answer of the planner
      silent.push(new Silent({book, reason: error.message, few_pairs: Boolean(error.fewPairs)}));
    }
  }
  return nearest_of(books, said, silent, asked.flops, question.places === null);
}

/** The answer of `plan`, and besides: recipeOf(i) is the recipe of the i-th of `ranked`. Throws where `plan` has an
    error. */
export function plan(books, question) {
  const {machine, count, conditions, lr} = question;
  const asked = read_budget(question.budget, machine);
  check_choices(count, 1, asked);
  check_reach(books, asked.flops);
  const [consulted, others] = nearest(books, question, asked);
  const {book, ranked} = consulted;
  const asks = {
    budget: asked,
    machine,
    flops: count,
    conditions,
    fixes_batch: 'batch_size' in conditions,
    lr,
    training: () => trainingOf(book, question),
  };
  const recipeOf = (i) => recipe_of(ranked[i][0], asked.flops, asks, book, ranked[i][1]);
  return Object.assign(_plan(consulted, others, asks, USUAL, null), {asked, ranked, recipeOf});
}

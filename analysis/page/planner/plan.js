/* planner/recipe.py, in its order, but lazily: a recipe is worked out when it is shown. */

import {
  Limits, by_regret, check_choices, check_reach, facts_of, nothing_fits, recipe_of, candidates, feasible, on_machine,
  provenance, read_budget, timed, warnings,
} from './generated.js';
import {replace} from './python.js';

/** question: {budget, machine, limits, methods, models, count}. Every model with every method that the limits allow, and
    those that cannot be. */
export function consider(book, {machine, limits, methods, models, count}) {
  const allowed = new Limits(limits);
  const memory = machine ? Math.min(allowed.memory, machine.memory) : allowed.memory;
  const [mixed, chips] = machine && machine.kind.mixed ? [true, machine.count] : [false, 1];
  const [possible, refused] = candidates(book, models, methods, replace(allowed, {memory}), count, chips, mixed);
  return [on_machine(possible, machine), refused];
}

/** The answer of `plan`; recipe(i) is the i-th candidate. Throws where `plan` has an error. */
export function plan(book, question) {
  const {machine, count} = question;
  const asked = read_budget(question.budget, machine);
  check_choices(count, 1, asked);
  check_reach([book], asked.flops);
  const [considered, impossible] = consider(book, question);
  const atSpeed = timed(considered, asked, machine);
  const [fits, tooSmall] = feasible(atSpeed, asked.flops);
  const refused = [...impossible, ...tooSmall];
  if (!fits.length) throw new Error(nothing_fits(asked.flops, atSpeed, refused));
  const ranked = by_regret(fits, asked.flops);
  const recipe = (i) => recipe_of(ranked[i][0], asked.flops, book.training, machine, ranked[i][1]);
  const spent = replace(asked, {flops: ranked[0][0].relative_speed * asked.flops});
  const best = recipe(0);
  return {
    asked,
    budget: spent,
    considered,
    fits: ranked.map(([candidate]) => candidate),
    refused,
    recipe,
    warnings: warnings(book, [best], ranked.map(([candidate]) => candidate), spent.flops, {}),
    provenance: provenance(book, best, ranked[0][0], machine, count),
    facts: facts_of(book, best, ranked[0][0]),
  };
}

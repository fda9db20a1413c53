/* The answer: the first screen of `plan`, and what stands behind it. */

import {command} from './controls.js';
import {byId, cell, element, fill, head, markImage, methodText, words} from './dom.js';
import {
  CANDIDATE, RECIPE, USUAL, candidate_row, crossover_text, fact_text, outlook_rows, recipe_flags, recipe_rows, spent_lines,
  sweep_flags,
} from './planner/generated.js';
import {book} from './state.js';

const TEXTS = 2; // columns of the candidates that are words, the others are numbers
const SWEEP = 0.02; // of the budget, for a sweep that makes the choice surer
const FAR = 1; // decades from the evidence, beyond which a banner says so: as far as a suite that was not measured
const DISTANT = new Set(['too-far', 'extrapolated', 'other-suite', 'other-data']); // codes of warnings

let allCandidates = false; // whether the table shows more than the first ones
let saying = 0; // timer of what screen readers are told

export function showAnswer({question, answer}) {
  const {recipe, warnings} = answer;
  const asks = command(question);
  const outlook = outlook_rows(answer);
  const far = distance(recipe, warnings);
  showFar(recipe, far);
  showRows('recipe-rows', recipe_rows(answer));
  showRows('outlook-rows', {...outlook, note: withoutLines(outlook.note ?? '', far)});
  byId('surer').textContent = `${asks} ${sweep_flags(SWEEP)}`;
  byId('surer-row').hidden = recipe.sure;
  byId('train').textContent = `${asks} ${recipe_flags(answer)} && ${recipe.train_command(RECIPE)}`;
  for (const button of document.querySelectorAll('.copy')) button.textContent = 'Copy';
  showCandidates(answer);
  if (byId('explain').open) explain(answer);
  const {model, method} = recipe.trial;
  say(`${model} with ${methodText(method.label)}, loss ${outlook.loss}`);
}

/** Name of a line -> its text; empty ones are left out. */
function showRows(id, rows) {
  const shown = Object.entries(rows).filter(([, text]) => text);
  fill(
    byId(id),
    ...shown.map(([name, text]) => element('div', {class: name}, element('dt', {}, name), element('dd', {}, words(text)))),
  );
}

/** What the banner says of an answer that lies far from what was measured; empty nearer by. */
const distance = ({extrapolation}, warnings) =>
  extrapolation.distance < FAR ? [] : warnings.filter(({code}) => DISTANT.has(code)).map(({text}) => text);

function showFar({loss}, texts) {
  byId('far').hidden = !texts.length;
  byId('far').className = loss === null ? 'banner bad' : 'banner';
  fill(byId('far'), element('b', {}, 'Far from the evidence'), ...texts.map((text) => element('span', {}, words(text))));
}

const withoutLines = (text, lines) => text.split('\n').filter((line) => !lines.includes(line)).join('\n');

/** What is folded away, worked out when it is opened. */
export function explain(answer) {
  const measured = book.measured.flops;
  const items = (id, texts) => fill(byId(id), ...texts.map((text) => element('li', {}, words(text))));
  items('spent', spent_lines(answer.recipe));
  items(
    'crossovers',
    answer.crossovers.map((one) => crossover_text(one, measured)),
  );
  byId('changes').hidden = !answer.crossovers.length;
  items(
    'warning-list',
    answer.warnings.map(({text}) => text),
  );
  byId('warnings').hidden = !answer.warnings.length;
  items('published-list', answer.facts.map(fact_text));
  byId('published').hidden = !answer.facts.length;
  showRefused(answer.refused);
  fill(
    byId('provenance'),
    ...Object.entries(answer.provenance).flatMap(([part, source]) => [
      element('dt', {}, part.replaceAll('_', ' ')),
      element('dd', {}, words(source)),
    ]),
  );
}

function showRefused(refused) {
  byId('refused').hidden = !refused.length;
  byId('refused-title').textContent = `Not possible: ${refused.length}`;
  fill(
    byId('refused-list'),
    ...refused.map(({model, method, reason}) =>
      element('li', {}, words(model), ' with ', words(method), ': ', words(reason)),
    ),
  );
}

function showCandidates(answer) {
  const {ranked, candidates, recipeOf} = answer;
  const shown = allCandidates ? ranked.map((_, i) => recipeOf(i)) : candidates;
  const rows = shown.map((recipe, i) => candidateLine(recipe, ranked[i][0].law.place, i));
  byId('candidates').parentElement.hidden = answer.recipe.loss === null && !allCandidates;
  fill(byId('candidates'), head(CANDIDATE, TEXTS), element('tbody', {}, ...rows));
  byId('all-candidates').textContent = allCandidates ? `Show the first ${USUAL}` : `Show all ${ranked.length}`;
  byId('all-candidates').parentElement.hidden = ranked.length <= USUAL;
}

export function toggleCandidates(answer) {
  allCandidates = !allCandidates;
  showCandidates(answer);
}

function candidateLine(recipe, place, i) {
  const [model, method, ...numbers] = candidate_row(recipe);
  return element(
    'tr',
    i ? {} : {class: 'best'},
    cell(words(model)),
    cell(element('span', {class: 'mark'}, markImage(place), words(method))),
    ...numbers.map((text) => cell(text, 'number')),
  );
}

/** Copies a command; where a browser forbids that, selects it. */
export async function copy(button) {
  const code = byId(button.dataset.copies);
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = 'Copied';
  } catch {
    getSelection().selectAllChildren(code);
    button.textContent = 'Selected';
  }
}

/** To screen readers, once the slider rests. */
function say(text) {
  clearTimeout(saying);
  saying = setTimeout(() => {
    byId('announcement').textContent = text;
  }, 600);
}

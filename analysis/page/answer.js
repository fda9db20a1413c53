/* The answer: the first screen of `plan`, and what stands behind it. */

import {command} from './controls.js';
import {byId, cell, element, fill, head, methodText, words} from './dom.js';
import {markImage} from './looks.js';
import {explained} from './meanings.js';
import {
  CANDIDATE, RECIPE, USUAL, banner_lines, book_lines, candidate_row, crossover_text, fact_text, outlook_rows, recipe_flags,
  recipe_rows, spent_lines, sweep_flags,
} from './planner/generated.js';
import {fileMeans, whyNoFile} from './recipe_file.js';

/** What of a line of the answer weighs most. */
const WEIGHTY = {
  model: /^[^,]+/,
  method: /^.+/,
  loss: /^[^,]+/,
  scores: /^[^;]+/,
  sure: /^[^;\n]+/,
  evidence: /(?<=: )[^,\n]+/,
};
/** Name of a line or a column -> its word in the glossary. */
const WORDS = {
  method: 'tuning method',
  loss: 'loss',
  sure: 'regret',
  evidence: 'law book',
  '90 % interval': '90 % prediction interval',
  regret: 'regret',
};
const TEXTS = 2; // columns of the candidates that are words, the others are numbers
const SWEEP = 0.02; // of the budget, for a calibration sweep

let allCandidates = false; // whether the table shows more than the first ones
let saying = 0; // timer of what screen readers are told

export function showAnswer({question, answer}) {
  const {recipe} = answer;
  const asks = command(question);
  const outlook = outlook_rows(answer);
  const far = banner_lines(answer);
  showFar(recipe, far);
  showRows('recipe-rows', recipe_rows(answer));
  showRows('outlook-rows', {...outlook, note: withoutLines(outlook.note ?? '', far)});
  byId('surer').textContent = `${asks} ${sweep_flags(SWEEP)}`;
  byId('surer-row').hidden = recipe.sure;
  byId('same').textContent = asks;
  showFile(answer);
  byId('train').textContent = `${asks} ${recipe_flags(answer)} && ${recipe.train_command(RECIPE)}`;
  for (const button of document.querySelectorAll('[data-copies]')) button.textContent = button.dataset.says;
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
    ...shown.map(([name, text]) =>
      element('div', {class: name}, element('dt', {}, titled(name)), element('dd', {}, weighed(name, text))),
    ),
  );
}

const titled = (name) => (name in WORDS ? explained(WORDS[name], name) : name);

/** A line with what weighs most in it set off. */
function weighed(name, text) {
  const heavy = WEIGHTY[name]?.exec(text);
  if (!heavy) return words(text);
  const [before, after] = [text.slice(0, heavy.index), text.slice(heavy.index + heavy[0].length)];
  const [joint] = /^[,;]?\s*/.exec(after); // which a line of its own needs no more: it stays for those who copy or listen
  const rest = joint ? [element('span', {class: 'joint'}, joint), after.slice(joint.length)] : [after];
  return element('bdi', {class: 'text'}, before, element('b', {}, heavy[0]), ...rest);
}

function showFar({loss}, texts) {
  byId('far').hidden = !texts.length;
  byId('far').className = loss === null ? 'banner bad' : 'banner';
  fill(byId('far'), element('b', {}, 'Far from the evidence'), ...texts.map((text) => element('span', {}, words(text))));
}

const withoutLines = (text, lines) => text.split('\n').filter((line) => !lines.includes(line)).join('\n');

function showFile(answer) {
  const none = whyNoFile(answer);
  byId('download').disabled = Boolean(none);
  byId('download-means').textContent = none || fileMeans(answer);
}

/** What is folded away, worked out when it is opened. */
export function explain(answer) {
  const measured = answer.laws.measured.flops;
  const items = (id, texts) => fill(byId(id), ...texts.map((text) => element('li', {}, words(text))));
  items('spent', spent_lines(answer.recipe));
  items(
    'crossovers',
    answer.crossovers.map((one) => crossover_text(one, measured)),
  );
  byId('changes').hidden = !answer.crossovers.length;
  items('book-list', book_lines(answer));
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
  const rows = shown.map((recipe, i) => candidateLine(recipe, i));
  byId('candidates').parentElement.hidden = answer.recipe.loss === null && !allCandidates;
  fill(byId('candidates'), head(CANDIDATE.map(titled), TEXTS), element('tbody', {}, ...rows));
  byId('all-candidates').textContent = allCandidates ? `Show the first ${USUAL}` : `Show all ${ranked.length}`;
  byId('all-candidates').parentElement.hidden = ranked.length <= USUAL;
}

export function toggleCandidates(answer) {
  allCandidates = !allCandidates;
  showCandidates(answer);
}

function candidateLine(recipe, i) {
  const [model, method, ...numbers] = candidate_row(recipe);
  return element(
    'tr',
    i ? {} : {class: 'best'},
    cell(words(model)),
    cell(element('span', {class: 'mark'}, markImage(recipe.trial.method.label), words(method))),
    ...numbers.map((text) => cell(text, 'number')),
  );
}

/** Copies a command; where a browser forbids that, selects it. */
export async function copy(button) {
  const code = byId(button.dataset.copies);
  code.hidden = false;
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

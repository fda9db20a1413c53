/* Fields that a user fills in: limits and training conditions, what is wrong with them, and the flags of `plan`. */

import {byId, element, fill} from './dom.js';
import {Limits, count, memory} from './planner/generated.js';
import {repr} from './planner/python.js';
import {positive} from './planner/shapes.js';
import {content} from './state.js';

/** Fields of Limits. id: its name there and in the page. */
const LIMITS = [
  {id: 'max_params', label: 'parameters at most', what: 'parameters', example: '1.4B'},
  {id: 'max_dim', label: 'dimensions at most', what: 'dimensions', example: '1024'},
  {id: 'memory', label: 'memory per chip', what: 'bytes', example: '24GB'},
  {id: 'max_pairs', label: 'unique pairs', what: 'pairs', example: '2M'},
  {id: 'max_epochs', label: 'epochs at most', what: 'epochs', example: '4'},
  {id: 'min_steps', label: 'steps at least', what: 'whole', example: ''},
  {id: 'max_steps', label: 'steps at most', what: 'whole', example: ''},
  {id: 'serve_tokens', label: 'tokens to serve', what: 'tokens', example: '1T'},
];

/** What training is to be like. condition: whether it is a setting of Training. */
const TRAINING = [
  {id: 'batch_size', label: 'batch size, pairs', what: 'whole', least: 2, example: '256', condition: true},
  {id: 'temperature', label: 'temperature', what: 'a temperature such as 0.02', example: '0.02', condition: true},
  {id: 'context', label: 'context, tokens', what: 'whole', example: '128', condition: true},
  {id: 'tokens_per_pair', label: 'tokens per pair', what: 'tokens', example: '120'},
  {id: 'lr', label: 'peak learning rate', what: 'a learning rate such as 1e-3', example: '1e-3'},
];
const CHOSEN = ['pooling', 'schedule']; // settings of Training of which there are a few

const FLAGS = {max_pairs: '--pairs'}; // where a flag is not named as its field
const flagOf = (name) => FLAGS[name] ?? `--${name.replaceAll('_', '-')}`;

const COMMANDS = ['plan', 'embed']; // which errors name as they name parameters

/** The planner's error with its parameters named as on the command line. */
export const asFlags = (error) =>
  error.replace(/`(\w+)`/g, (name, word) => (COMMANDS.includes(word) ? name : flagOf(word)));

export const given = (id) => byId(id).value.trim();

export function wholeNumber(flag, text, least = 1) {
  if (!/^\d+$/.test(text) || Number(text) < least)
    throw new Error(`${flag} is ${repr(text)}; it must be a whole number, ${least} or more`);
  return Number(text);
}

/** What `read` gives, or null with the error beside the field `id`. */
export function checked(id, read) {
  let error = '';
  let value = null;
  try {
    value = read();
  } catch (thrown) {
    error = asFlags(thrown.message);
  }
  byId(`${id}-error`).textContent = error;
  byId(id).setAttribute('aria-invalid', String(Boolean(error)));
  return {value, wrong: Boolean(error)};
}

function read({id, what, least}, text) {
  const flag = flagOf(id);
  if (what === 'whole') return wholeNumber(flag, text, least);
  if (what.startsWith('a ')) return positive(flag, text, what);
  return what === 'bytes' ? memory(flag, text) : count(flag, text, what);
}

/** Name -> value of the fields of a table that are filled in. */
function readTable(table) {
  const value = {};
  let wrong = false;
  for (const field of table) {
    const one = checked(field.id, () => (given(field.id) === '' ? null : read(field, given(field.id))));
    if (one.value !== null) value[field.id] = one.value;
    wrong ||= one.wrong;
  }
  return {value, wrong};
}

/** The limits that are set, under the names of Limits. */
export function askedLimits() {
  const {value, wrong} = readTable(LIMITS);
  const apart = !wrong && checked('max_epochs', () => new Limits(value)).wrong; // they must agree with one another
  return {value, wrong: wrong || apart};
}

/** {conditions, tokens_per_pair, lr} as the planner takes them. */
export function askedTraining() {
  const {value, wrong} = readTable(TRAINING);
  const chosen = CHOSEN.filter((name) => given(name)).map((name) => [name, given(name)]);
  const named = TRAINING.filter(({id, condition}) => condition && id in value).map(({id}) => [id, value[id]]);
  const conditions = Object.fromEntries([...named, ...chosen]);
  return {value: {conditions, tokens_per_pair: value.tokens_per_pair ?? null, lr: value.lr ?? null}, wrong};
}

const GROUPS = {limits: LIMITS.map(({id}) => id), training: [...TRAINING.map(({id}) => id), ...CHOSEN]};

/** [flag, text] of every field that is filled in. */
export const flagsOfFields = () =>
  [...GROUPS.training, ...GROUPS.limits].map((id) => [flagOf(id), given(id)]).filter(([, text]) => text);

/** How many fields of a group are filled in. */
export const countSet = (group) => GROUPS[group].filter((id) => given(id)).length;

export function setUpFields() {
  fill(byId('limit-fields'), ...LIMITS.map(textField));
  fill(byId('training-fields'), ...TRAINING.map(textField), ...CHOSEN.map(choiceField));
}

function textField({id, label, example}) {
  const usual = new Limits({})[id];
  const input = element('input', {
    id,
    type: 'text',
    placeholder: example ? `such as ${example}` : String(usual),
    'aria-describedby': `${id}-error`,
    spellcheck: 'false',
  });
  return field(id, label, input, element('p', {class: 'error', id: `${id}-error`}));
}

function choiceField(name) {
  const option = (value) => element('option', {value}, value || 'as in the laws');
  return field(name, name, element('select', {id: name}, ...['', ...content.choices[name]].map(option)));
}

const field = (id, label, ...children) => element('div', {}, element('label', {for: id}, label), ...children);

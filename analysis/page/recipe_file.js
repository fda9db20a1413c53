/* The recipe as a file for `embed train`, as `plan --out` writes it (sweeps/experiment/recipe_file.py). */

import {RECIPE, predicted_table, recipe_remarks} from './planner/generated.js';

const BARE = /^[A-Za-z0-9_-]+$/; // keys that stand without quotes

function tomlOf(value) {
  if (typeof value === 'string') return JSON.stringify(value).replaceAll('\x7f', '\\u007F');
  if (Array.isArray(value)) return `[${value.map(tomlOf).join(', ')}]`;
  if (typeof value === 'object') {
    const pairs = Object.entries(value).map(([key, item]) => `${keyOf(key)} = ${tomlOf(item)}`);
    return `{ ${pairs.join(', ')} }`;
  }
  return Number.isInteger(value) && !Number.isSafeInteger(value) ? value.toExponential() : String(value);
}

const keyOf = (key) => (BARE.test(key) ? key : tomlOf(key));

/** `key = value` for every key; what is none or without end has no TOML and is left out. */
const linesOf = (table) =>
  Object.entries(table)
    .filter(([, value]) => value !== null && value !== undefined && value !== Infinity)
    .map(([key, value]) => `${keyOf(key)} = ${tomlOf(value)}`);

/** The file of the answer's recipe. */
export function recipeFile(answer) {
  const {model, method, training, lr, steps, seed, budget} = answer.recipe.trial;
  const tables = {
    method: {name: method.name, ...method.options},
    training,
    predicted: predicted_table(answer),
  };
  const parts = [
    [...recipe_remarks(answer, RECIPE).map((remark) => `# ${remark}`), ...linesOf({model, lr, steps, seed, budget})],
    ...Object.entries(tables).map(([name, table]) => [`[${name}]`, ...linesOf(table)]),
  ];
  return `${parts.map((part) => part.join('\n')).join('\n\n')}\n`;
}

/** Why there is no such file; empty where there is. */
export const whyNoFile = ({evidence, recipe}) =>
  evidence.kind === 'published'
    ? `The laws are of ${recipe.trial.training.data}, which do not come with this program: the command names your pairs.`
    : '';

/** What to mind of the file: where its data lie. */
export const fileMeans = ({recipe: {trial}}) =>
  /^(python-env|hf:)/.test(trial.training.data)
    ? ''
    : `It names ${trial.training.data} as the sweep file does: lay it beside that.`;

export function download(answer) {
  const link = document.createElement('a');
  link.href = `data:application/toml;charset=utf-8,${encodeURIComponent(recipeFile(answer))}`;
  link.download = RECIPE;
  link.click();
}

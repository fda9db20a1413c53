/* What the page was made from, and words where there is no law. */

import {byId, element, fill, whole, words} from './dom.js';
import {g} from './planner/python.js';
import {book, books, content, planning, trialData} from './state.js';

export function about() {
  const source = book?.source ?? {};
  const textOf = (value) => (Array.isArray(value) ? value.join(' ') : (value ?? 'none'));
  const conditions = Object.entries(book?.training ?? {}).filter(([, value]) => textOf(value) !== '');
  const rows = {
    [book?.published ? 'facts' : 'sweep']: content.name,
    laws:
      book &&
      (book.published
        ? `${book.laws.length}, drawn so that they agree with what ${book.published} printed; no runs of our own`
        : `${book.laws.length}, fitted to ${source.observations} of ${content.trials.count} trials; rows ${source.rows_hash}`),
    'law books beside': books.slice(1).map(({name, published}) => `${name}, drawn so that they agree with what ${published} printed`).join('; '),
    'entered the fit': source.filters?.join(', '),
    models: book?.models.join(', '),
    conditions: conditions.map(([name, value]) => `${name} ${textOf(value)}`).join(', '),
    curves: content.trials.count && (content.trials.thinned
      ? `thinned to ${content.trials.points} points a trial, each the mean of its stretch of steps`
      : 'every recorded point'),
    'numbers of trials': content.trials.count && 'as measured, kept with seven digits',
    'made by': content.createdBy,
    charts:
      'Apache ECharts 6.1.0 (Apache-2.0) with zrender (BSD-3-Clause, Baidu Inc.) and parts of d3 (BSD-3-Clause, Mike Bostock)',
    network: 'none: this file holds all that it shows, and its policy lets it load nothing',
  };
  const known = Object.entries(rows).filter(([, value]) => value);
  fill(byId('about'), ...known.flatMap(([name, value]) => [element('dt', {}, name), element('dd', {}, words(value))]));
}

const counted = (count, one) => `${whole(count)} ${one}${count === 1 ? '' : 's'}`;

export function summary() {
  const lost = trialData.trials.filter((trial) => trial.status !== 'done').length;
  const runs = counted(content.trials.count, 'trial') + (lost ? `, ${whole(lost)} of them without a loss` : '');
  const parts = [book?.published ? 'Printed by others, no runs of our own' : runs];
  if (planning) {
    const {models, laws, measured} = book;
    parts.push(`${counted(models.length, 'model')}, ${counted(laws.length, 'method')}`);
    parts.push(`${measured.flops.map((value) => g(value, 2).replace('e+', 'e')).join(' to ')} FLOP ${book.published ? 'published' : 'measured'}`);
    const {missing} = book;
    if (missing.length) parts.push(`no shape found for ${missing.join(', ')}: no recipes for these`);
  }
  return `${parts.join('; ')}.`;
}

export function showWithout() {
  byId('without').hidden = false;
  byId('why').textContent = content.why || 'The laws are not there.';
  byId('without-trials').textContent = content.trials.count
    ? 'Every trial is below, with its status.'
    : 'The folder holds no trial yet.';
  byId('without').append(...content.broken.map((text) => element('p', {class: 'muted'}, words(text))));
}

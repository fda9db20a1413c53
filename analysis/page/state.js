/* What the page was made with, and what it shows now. */

import {byId} from './dom.js';
import {readBook} from './planner/book.js';
import {readTrials} from './trials.js';

export const content = JSON.parse(byId('data').textContent);
export const planning = content.planning; // null where no law could be fitted, and so is the book
export const book = planning && readBook(planning);
export const measureName = content.measure === 'loss' ? 'held-out loss, nats per pair' : content.measure;
export const unit = content.measure === 'loss' ? 'nats per pair' : `as ${content.measure}`;

export const trialData = readTrials(content.trials);
/** Label of a method -> its law. */
export const lawOf = new Map((book?.laws ?? []).map((law) => [law.label, law]));

export let current = null; // {question, answer}: what the page shows; null while a control is wrong

export function setCurrent(shown) {
  current = shown;
}

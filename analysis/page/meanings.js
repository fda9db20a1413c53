/* What words mean: of the glossary, beside a word that is pointed at, tapped or reached with the keyboard. */

import {byId, element} from './dom.js';
import {GLOSSARY} from './glossary.js';

const GAP = 6; // pixels between a word and its meaning

let shown = null; // the word whose meaning is shown

/** A word that tells its meaning. name: in the glossary. */
export const explained = (name, text = name) => element('dfn', {'data-word': name, tabindex: '0'}, text);

function tell(word) {
  if (word === shown) return;
  const box = byId('meaning');
  shown?.removeAttribute('aria-describedby');
  shown = word;
  box.hidden = !word;
  if (!word) return;
  box.textContent = GLOSSARY[word.dataset.word];
  word.setAttribute('aria-describedby', 'meaning');
  place();
}

function place() {
  if (!shown) return;
  const box = byId('meaning');
  const at = shown.getBoundingClientRect();
  const room = document.documentElement.clientWidth - box.offsetWidth - GAP;
  const above = at.bottom + GAP + box.offsetHeight > innerHeight;
  box.style.left = `${Math.max(GAP, Math.min(at.left, room))}px`;
  box.style.top = `${above ? at.top - GAP - box.offsetHeight : at.bottom + GAP}px`;
}

export function setUpMeanings() {
  for (const word of document.querySelectorAll('dfn[data-word]')) word.tabIndex = 0;
  const of = (target) => (target instanceof Element ? target.closest('dfn[data-word]') : null);
  document.addEventListener('mouseover', ({target}) => tell(of(target) ?? of(document.activeElement)));
  document.addEventListener('focusin', ({target}) => tell(of(target)));
  document.addEventListener('focusout', () => tell(null));
  document.addEventListener('scroll', place, {capture: true, passive: true});
  document.addEventListener('keydown', ({key}) => key === 'Escape' && tell(null));
}

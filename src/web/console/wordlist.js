// The list of sensitive words: how many are in force, reading it again, and trying a text on it.

import { el, tell, write } from './dom.js';
import { areaField } from './fields.js';
import { table } from './lists.js';
import { get, post } from './server.js';
import { count, t } from './words.js';

export async function wordsPage() {
  const { words } = await get('words');
  const number = el('p', {}, t('words_in_force', count(words)));
  const wrong = el('pre', { class: 'wrong', role: 'alert' });
  const reload = el('button', { type: 'button', class: 'next', 'data-do': 'reload-words' }, t('reload_words'));
  reload.addEventListener('click', async () => {
    reload.disabled = true;
    write(wrong, '');
    try {
      const found = await post('words/reload');
      write(number, t('words_in_force', count(found.words)));
      tell(t('done', t('reload_words')));
    } catch (error) {
      // Every broken line, one below the other.
      write(wrong, error.message);
    } finally {
      reload.disabled = false;
    }
  });
  return { element: el('div', {}, el('h1', {}, t('words')),
    el('section', {}, number, el('p', { class: 'quiet' }, t('words_about')), reload, wrong), trial(number)) };
}

/** A field for a text, and what would become of it. `number` is where the page says how many words there are. */
function trial(number) {
  const text = areaField(t('text'), '', '', { name: 'trial', required: true, autocapitalize: 'none', spellcheck: 'false' });
  const outcome = el('div', { class: 'trial', role: 'status' });
  const check = el('button', { class: 'next', 'data-do': 'try-text' }, t('try_text'));
  const submit = async (event) => {
    event.preventDefault();
    check.disabled = true;
    try {
      const found = await post('words/check', { text: text.read() });
      write(number, t('words_in_force', count(found.words)));
      outcome.replaceChildren(...judged(found, text.read()));
    } catch (error) {
      outcome.replaceChildren(el('p', { class: 'wrong' }, error.message));
    } finally {
      check.disabled = false;
    }
  };
  // What is said below is of what stands in the field.
  text.control.addEventListener('input', () => outcome.replaceChildren());
  return el('form', { class: 'card', onsubmit: submit }, el('h2', {}, t('try_title')),
    el('p', { class: 'quiet' }, t('try_about')), text.element, el('div', { class: 'row' }, check), outcome);
}

function judged({ outcome, becomes, refusal, found, bytes_max: most }, text) {
  const bytes = new TextEncoder().encode(text).length;
  const verdict = outcome === 'refused' ? t(`try_refused_${refusal.code}`, count(bytes), count(most))
    : outcome === 'passes' && becomes !== text ? t('try_cleaned') : t(`try_${outcome}`);
  const words = found.map((word) => el('tr', {},
    el('td', { class: 'long' }, word.text), el('td', { class: 'number' }, count(word.line)),
    el('td', {}, [t(`try_action_${word.action}`), word.whole ? t('try_whole') : ''].filter(Boolean).join(' · '))));
  return [
    el('p', { class: outcome === 'refused' ? 'wrong' : outcome === 'passes' ? 'good' : '', 'data-outcome': outcome }, verdict),
    ...(becomes === null ? [] : [el('pre', { 'aria-label': t('try_becomes') }, becomes)]),
    ...(words.length > 0 ? [table(['try_word', 'line', 'try_action'], words)] : []),
  ];
}

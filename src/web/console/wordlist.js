// The list of sensitive words: how many are in force, and reading it again.

import { el, tell, write } from './dom.js';
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
    el('section', {}, number, el('p', { class: 'quiet' }, t('words_about')), reload, wrong)) };
}

// Which page is shown: login, the list of shows, one show live or as it is written, and the rest.

import { el, tell } from './dom.js';
import { editorPage } from './editor.js';
import { LivePage } from './live.js';
import { auditList, showList } from './lists.js';
import { rehearsalPage } from './rehearsal.js';
import { roomPage, roomsPage } from './rooms.js';
import { logIn, logOut, session } from './server.js';
import { wordsPage } from './wordlist.js';
import { switchLanguage, t } from './words.js';

const main = document.getElementById('main');
const header = document.getElementById('top');

let who;
let live;
/** Grows with each page, so that one that was slow to come does not replace a newer one. */
let turn = 0;

/** Shows what went wrong, or that nothing does any more. */
function failed(error) {
  const lost = document.getElementById('lost');
  if (!error) {
    lost?.remove();
  } else if (error.status === 401) {
    who = undefined;
    render(t('session_over'));
  } else if (error.code === 'unreachable') {
    if (!lost) header.after(el('p', { id: 'lost', role: 'alert', class: 'wrong' }, t('unreachable')));
  } else {
    tell(error.message, 'wrong');
  }
}

function renderHeader() {
  const language = el('button', {
    type: 'button', class: 'plain', onclick: () => { switchLanguage(); render(); },
  }, t('language'));
  const leave = el('button', {
    type: 'button', class: 'plain', onclick: async () => {
      try { await logOut(); } catch { /* The session is over all the same. */ }
      who = undefined;
      render();
    },
  }, t('logout'));
  header.replaceChildren(
    el('a', { href: '#/', class: 'brand' }, 'tidegate'),
    el('nav', { 'aria-label': t('console') },
      who && el('a', { href: '#/' }, t('shows')),
      ...(who && who.role !== 'viewer' ? ['rehearsal', 'rooms', 'words'].map((page) =>
        el('a', { href: `#/${page}` }, t(page))) : []),
      who?.role === 'administrator' && el('a', { href: '#/audit' }, t('audit'))),
    el('span', { class: 'who' }, who ? `${who.name} · ${who.role}` : ''),
    language, ...(who ? [leave] : []));
}

function renderLogin(note) {
  const name = el('input', { name: 'name', autocomplete: 'username', autocapitalize: 'none', required: true });
  const password = el('input', { name: 'password', type: 'password', autocomplete: 'current-password', required: true });
  const wrong = el('p', { role: 'alert', class: 'wrong' }, note ?? '');
  const button = el('button', { class: 'next' }, t('login'));
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      who = await logIn(name.value, password.value);
      render();
    } catch (error) {
      wrong.textContent = error.code === 'bad_login' ? t('bad_login')
        : error.code === 'unreachable' ? t('unreachable') : error.message;
      button.disabled = false;
      password.value = '';
      password.focus();
    }
  };
  main.replaceChildren(el('form', { class: 'login', onsubmit: submit },
    el('h1', {}, t('console')),
    el('label', {}, t('name'), name), el('label', {}, t('password'), password), wrong, button));
  name.focus();
}

async function render(note) {
  live?.stop();
  live = undefined;
  document.querySelector('dialog')?.remove();
  turn += 1;
  const mine = turn;
  document.title = 'tidegate';
  renderHeader();
  if (!who) {
    renderLogin(note);
    return;
  }
  const [, page = '', id] = location.hash.split('/');
  const isNumber = /^[0-9]+$/.test(id ?? '');
  if (page === 'show' && isNumber) {
    live = new LivePage({ id, role: who.role, failed });
    main.replaceChildren(live.element);
    live.start();
    return;
  }
  try {
    const { element, start, stop } = await pageOf(page, isNumber ? id : undefined);
    if (mine !== turn) {
      stop?.();
      return;
    }
    live = stop && { stop };
    main.replaceChildren(element);
    start?.();
  } catch (error) {
    failed(error);
  }
}

/** The page of a name: its element, and what starts and stops it where something runs in it. */
async function pageOf(page, id) {
  const titled = (title, ...elements) => ({ element: el('div', {}, el('h1', {}, t(title)), ...elements) });
  switch (page) {
    case 'new': return editorPage(id, true);
    case 'edit': return editorPage(id, false);
    case 'rehearsal': return rehearsalPage({ id, role: who.role, failed });
    case 'rooms': return id === undefined ? roomsPage() : roomPage(id);
    case 'words': return wordsPage();
    case 'audit': return titled('audit', await auditList());
    default: return titled('shows', ...await showList(who.role));
  }
}

window.addEventListener('hashchange', () => render());
let lost;
try { who = await session(); } catch (error) { lost = error; }
await render();
if (lost) failed(lost);

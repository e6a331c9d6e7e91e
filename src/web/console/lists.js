// Lists: shows, and what was done.

import { el } from './dom.js';
import { get } from './server.js';
import { count, money, moment, t } from './words.js';

/** The list of shows. */
export async function showList(role) {
  const shows = await get('shows');
  const made = role === 'viewer' ? []
    : [el('p', {}, el('a', { href: '#/new', class: 'button', 'data-do': 'new' }, t('new_show')))];
  if (shows.length === 0) return [...made, el('p', { class: 'quiet' }, t('no_shows'))];
  const rows = shows.map((show) => el('tr', {},
    el('td', {}, el('a', { href: `#/show/${show.id}` }, show.title), ...clashes(show, shows)),
    el('td', {}, show.starts_at_ms === null ? '–' : moment(show.starts_at_ms)),
    el('td', {}, show.room),
    el('td', {}, t(`phase_${show.phase}`)),
    el('td', {}, show.question === null ? '–' : t('of', show.question + 1, show.question_count)),
    el('td', { class: 'number' }, count(show.joined)),
    el('td', { class: 'number' }, money(show.prize_pool_cents))));
  return [...made, table(['title', 'starts', 'room', 'phase', 'question', 'joined', 'pool'], rows)];
}

/** Which shows are likely to be in this one's room when it is to begin. */
function clashes({ id, room, room_clashes: others }, shows) {
  return others.map((other) => shows.find((show) => show.id === other)).filter(Boolean).map((other) =>
    el('p', { class: 'wrong clash', 'data-clash': `${id}-${other.id}` },
      t('room_clash', room, other.title, moment(other.starts_at_ms))));
}

/** What was done, newest first; for administrators. */
export async function auditList() {
  const { entries } = await get('audit');
  const rows = entries.map((entry) => el('tr', {},
    el('td', {}, moment(entry.at_ms)), el('td', {}, entry.account), el('td', { class: 'long' }, entry.action),
    el('td', {}, entry.about), el('td', { class: 'long' }, entry.outcome), el('td', {}, entry.peer)));
  return table(['when', 'who', 'what', 'about', 'outcome', 'from'], rows);
}

/** A table that may be wider than the screen. */
export function table(names, rows) {
  const head = names.map((name) => el('th', { scope: 'col' }, t(name)));
  return el('div', { class: 'wide', tabindex: 0 },
    el('table', {}, el('thead', {}, el('tr', {}, head)), el('tbody', {}, rows)));
}

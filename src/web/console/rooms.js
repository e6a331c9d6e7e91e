// Rooms: which there are, how each is set, and the end of one.

import { confirmed, el, tell } from './dom.js';
import { numberField } from './fields.js';
import { table } from './lists.js';
import { get, post, put } from './server.js';
import { count, t } from './words.js';

const LIMIT = 100;
const NUMBERS = [
  ['chat_per_second', 4_294_967_295], ['low_per_second', 4_294_967_295],
  ['egress_bytes_per_second', Number.MAX_SAFE_INTEGER],
];

/** All rooms, a page at a time. */
export async function roomsPage() {
  const body = el('div', {});
  const draw = async (after) => {
    const { rooms, next_after: next } = await get(`rooms?after=${after}&limit=${LIMIT}`);
    const rows = rooms.map(({ room, online, created }) => el('tr', {},
      el('td', {}, el('a', { href: `#/rooms/${room}` }, room)),
      el('td', { class: 'number' }, count(online)), el('td', {}, created ? t('room_made') : '')));
    body.replaceChildren(
      rows.length > 0 ? table(['room', 'online', 'kept'], rows) : el('p', { class: 'quiet' }, t('no_rooms')),
      ...(next ? [el('button', { type: 'button', onclick: () => draw(next) }, t('more'))] : []));
  };
  await draw(0);
  const id = el('input', { name: 'room', inputmode: 'numeric', pattern: '[1-9][0-9]*', required: true });
  const open = (event) => { event.preventDefault(); location.hash = `#/rooms/${id.value}`; };
  return { element: el('div', {}, el('h1', {}, t('rooms')),
    el('form', { class: 'card row', onsubmit: open }, el('label', {}, t('room'), id), el('button', {}, t('open_room'))),
    body) };
}

/** One room, which there need not be yet. */
export async function roomPage(id) {
  let room;
  try { room = await get(`rooms/${id}`); } catch (error) {
    if (error.code !== 'unknown_room') throw error;
  }
  const settings = room?.settings ?? {};
  const fields = NUMBERS.map(([name, max]) => [name, numberField(t(name), name, settings[name],
    { min: 0, max, name }, t('in_force', room?.effective?.[name] === undefined ? '–' : count(room.effective[name])))]);
  const opaque = el('select', { name: 'opaque_allowed' }, [['', 'as_usual'], ['true', 'allowed'], ['false', 'refused']]
    .map(([value, word]) => el('option', { value, selected: String(settings.opaque_allowed ?? '') === value }, t(word))));
  const save = el('button', { class: 'next', 'data-do': 'save-room' }, t('save'));
  const submit = async (event) => {
    event.preventDefault();
    // What has no field here stays as it was set.
    const wanted = { ...settings };
    for (const [name, field] of fields) wanted[name] = field.read();
    wanted.opaque_allowed = opaque.value === '' ? undefined : opaque.value === 'true';
    save.disabled = true;
    try {
      await put(`rooms/${id}`, wanted);
      tell(t('done', t('save')));
      window.dispatchEvent(new Event('hashchange'));
    } catch (error) {
      tell(t('failed', t('save'), error.message), 'wrong');
      save.disabled = false;
    }
  };
  const close = el('button', { type: 'button', class: 'danger', 'data-do': 'close-room' }, t('close_room'));
  close.addEventListener('click', async () => {
    const wording = {
      title: t('ask_title', t('close_room')), lines: [t('close_room_lines', id)],
      yes: t('ask_yes', t('close_room')), no: t('no'),
    };
    if (!await confirmed(wording)) return;
    try {
      await post(`rooms/${id}/close`);
      tell(t('done', t('close_room')));
      location.hash = '#/rooms';
    } catch (error) {
      tell(t('failed', t('close_room'), error.message), 'wrong');
    }
  });
  return { element: el('div', {}, el('h1', {}, t('room_number', id)),
    el('p', { class: 'quiet' }, room ? t('room_online', count(room.online)) : t('no_room')),
    el('form', { class: 'card', onsubmit: submit },
      el('p', { class: 'quiet' }, t('room_settings')),
      el('div', { class: 'fields' }, ...fields.map(([, field]) => field.element),
        el('label', {}, t('opaque_allowed'), opaque)),
      el('div', { class: 'row' }, save, ...(room ? [close] : [])))) };
}

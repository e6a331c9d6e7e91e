// Rooms: which there are, how each is set, and the end of one.

import { confirmed, el, tell } from './dom.js';
import { mark, numberField, selectField, textField } from './fields.js';
import { table } from './lists.js';
import { get, post, put } from './server.js';
import { count, t } from './words.js';

const LIMIT = 100;
/** As many kinds as a room can have, and the greatest. */
const KINDS_MAX = 64;
const KIND_MAX = 4_294_967_295;
const LANES = ['high', 'mid', 'low'];
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

/** Which kinds are never thinned out: as usual, none, or those of a list. */
function keptField(kinds, effective) {
  const usual = effective === undefined ? '–' : effective.join(', ') || t('kept_none');
  const rule = selectField(t('kept_rule'), 'kept_kinds', kinds === undefined ? '' : kinds.length > 0 ? 'these' : 'none',
    [['', t('as_usual')], ['none', t('kept_none')], ['these', t('kept_these')]], { name: 'kept_rule' },
    t('in_force', usual));
  const list = textField(t('kept_kinds'), 'kept_kinds', kinds?.join(', ') ?? '',
    { name: 'kept_kinds', inputmode: 'numeric' }, t('kept_hint'));
  const show = () => { list.element.hidden = rule.control.value !== 'these'; };
  rule.control.addEventListener('input', show);
  show();
  const read = () => (rule.read() === 'these' ? readKinds(list.read()) : { kinds: rule.read() && [] });
  return { elements: [rule.element, list.element], read, control: () => (list.element.hidden ? rule : list).control };
}

/** The kinds of a list, or what is wrong with it. */
function readKinds(text) {
  const parts = text.split(/[\s,;,、;]+/).filter((part) => part !== '');
  const strange = parts.find((part) => !/^[0-9]+$/.test(part) || Number(part) > KIND_MAX);
  if (strange !== undefined) return { wrong: t('kept_strange', strange) };
  const kinds = [...new Set(parts.map(Number))];
  if (kinds.length === 0) return { wrong: t('kept_empty') };
  if (kinds.includes(0)) return { wrong: t('kept_zero') };
  if (kinds.length > KINDS_MAX) return { wrong: t('kept_many', kinds.length, KINDS_MAX) };
  return { kinds };
}

/** What becomes of readers that are too slow, lane by lane. */
function slowFields(slow = {}, effective = {}) {
  const words = { gap: t('slow_gap'), close: t('slow_close') };
  return LANES.map((lane) => [lane, selectField(t(`slow_${lane}`), `slow_readers.${lane}`, slow[lane],
    [['', t('as_usual')], ...Object.entries(words)], { name: `slow_${lane}` },
    t('in_force', words[effective[lane]] ?? '–'))]);
}

/** One room, which there need not be yet. */
export async function roomPage(id) {
  const room = await get(`rooms/${id}`);
  const settings = room?.settings ?? {};
  const fields = NUMBERS.map(([name, max]) => [name, numberField(t(name), name, settings[name],
    { min: 0, max, name }, t('in_force', room?.effective?.[name] === undefined ? '–' : count(room.effective[name])))]);
  const opaque = selectField(t('opaque_allowed'), 'opaque_allowed', settings.opaque_allowed,
    [['', t('as_usual')], ['true', t('allowed')], ['false', t('refused')]], { name: 'opaque_allowed' },
    t('in_force', { true: t('allowed'), false: t('refused') }[room?.effective?.opaque_allowed] ?? '–'));
  const kept = keptField(settings.kept_kinds, room?.effective?.kept_kinds);
  const slow = slowFields(settings.slow_readers, room?.effective?.slow_readers);
  const save = el('button', { class: 'next', 'data-do': 'save-room' }, t('save'));
  const submit = async (event) => {
    event.preventDefault();
    // What has no field here stays as it was set.
    const wanted = { ...settings };
    for (const [name, field] of fields) wanted[name] = field.read();
    wanted.opaque_allowed = opaque.read() && opaque.read() === 'true';
    const { kinds, wrong } = kept.read();
    if (wrong) {
      refuse(kept.control(), wrong);
      return;
    }
    wanted.kept_kinds = kinds;
    wanted.slow_readers = Object.fromEntries(slow.map(([lane, field]) => [lane, field.read()]));
    save.disabled = true;
    try {
      await put(`rooms/${id}`, wanted);
      tell(t('done', t('save')));
      window.dispatchEvent(new Event('hashchange'));
    } catch (error) {
      const key = /^(kept_kinds|slow_readers\.(?:high|mid|low))\b/.exec(error.message)?.[1];
      const field = key === 'kept_kinds' ? kept.control() : slow.find(([lane]) => key === `slow_readers.${lane}`)?.[1].control;
      if (field) refuse(field, error.message);
      else tell(t('failed', t('save'), error.message), 'wrong');
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
        opaque.element, ...kept.elements),
      el('fieldset', {}, el('legend', {}, t('slow_readers')), el('p', { class: 'quiet' }, t('slow_about')),
        el('div', { class: 'fields' }, ...slow.map(([, field]) => field.element))),
      el('div', { class: 'row' }, save, ...(room ? [close] : [])))) };
}

/** Says what is wrong with a field, at it and to those who do not see it, and goes there. */
function refuse(control, reason) {
  mark(control, reason);
  tell(t('failed', t('save'), reason), 'wrong');
  control.focus();
}

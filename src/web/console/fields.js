// Fields of forms: each knows the key of the show file that it is, so that what the server says of a key
// is shown where it was written.

import { el, write } from './dom.js';
import { t } from './words.js';

/** A labelled control. What is wrong with it is said below it. */
function labelled(text, control, hint) {
  const wrong = el('span', { class: 'wrong', hidden: true });
  control.addEventListener('input', () => mark(control, ''));
  control.wrongPlace = wrong;
  return el('label', {}, text, control, hint ? el('span', { class: 'quiet' }, hint) : undefined, wrong);
}

/** Says what is wrong with a control; nothing any more with an empty text. */
export function mark(control, text) {
  if (!control.wrongPlace) return;
  write(control.wrongPlace, text);
  control.wrongPlace.hidden = text === '';
  if (text) control.setAttribute('aria-invalid', 'true');
  else control.removeAttribute('aria-invalid');
}

/** A line of text. */
export function textField(label, key, value, more = {}, hint = undefined) {
  const control = el('input', { 'data-key': key, value, ...more });
  return { element: labelled(label, control, hint), control, read: () => control.value };
}

/** Lines of text. */
export function areaField(label, key, value, more = {}) {
  const control = el('textarea', { 'data-key': key, rows: 2, ...more });
  control.value = value;
  return { element: labelled(label, control), control, read: () => control.value };
}

/** A whole number; what is left empty is left out. */
export function numberField(label, key, value, more = {}, hint = undefined) {
  const control = el('input', { 'data-key': key, type: 'number', step: 1, value: value ?? '', ...more });
  const read = () => (control.value.trim() === '' ? undefined : Number(control.value));
  return { element: labelled(label, control, hint), control, read };
}

/** One of several, each a value and its label; an empty value is left out. */
export function selectField(label, key, value, choices, more = {}, hint = undefined) {
  const control = el('select', { 'data-key': key, ...more }, choices.map(([choice, text]) =>
    el('option', { value: choice, selected: choice === String(value ?? '') }, text)));
  return { element: labelled(label, control, hint), control, read: () => control.value || undefined };
}

/** Money, written as it is paid and kept in cents. */
export function moneyField(label, key, cents, more = {}) {
  const written = cents === undefined ? '' : `${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, '0')}`;
  const control = el('input', {
    'data-key': key, inputmode: 'decimal', value: written, pattern: '[0-9]{1,11}([.,][0-9]{1,2})?',
    title: t('money_hint'), required: true, ...more,
  });
  const read = () => {
    const [, whole, part = ''] = /^([0-9]{1,11})(?:[.,]([0-9]{1,2}))?$/.exec(control.value.trim()) ?? [];
    return whole === undefined ? undefined : Number(whole) * 100 + Number(part.padEnd(2, '0'));
  };
  return { element: labelled(label, control), control, read };
}

/** Yes or no. */
export function checkField(label, key, value) {
  const control = el('input', { 'data-key': key, type: 'checkbox', checked: value });
  const element = el('label', { class: 'check' }, control, label);
  return { element, control, read: () => control.checked };
}

/** A moment, in the time zone of whoever looks. */
export function momentField(label, key, iso) {
  const at = iso ? new Date(iso) : undefined;
  const local = at && new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
  const control = el('input', { 'data-key': key, type: 'datetime-local', step: 1, value: local ?? '' });
  const read = () => (control.value ? new Date(control.value).toISOString() : undefined);
  return { element: labelled(label, control), control, read };
}

/** Fields that the browser finds wanting: an empty one would stand for what is usual. */
export function incompleteFields(form) {
  const keyed = [...form.querySelectorAll('[data-key]')].filter((control) =>
    control.dataset.key && control.validity && !control.validity.valid && !control.closest('[hidden]'));
  return keyed.map((control) => ({ key: control.dataset.key, reason: control.validationMessage }));
}

/** Shows problems at their controls and as a list that leads there; how many there are. */
export function showProblems(form, list, problems) {
  for (const control of form.querySelectorAll('[aria-invalid]')) mark(control, '');
  const items = problems.map(({ line, key, reason }) => {
    const control = controlOf(form, key);
    if (control) mark(control, reason);
    const place = control?.closest('label')?.firstChild?.textContent || control?.getAttribute('aria-label') || key;
    const where = control || !line ? place : t('line_key', line, key);
    const go = () => {
      control.closest('details')?.setAttribute('open', '');
      control.focus();
    };
    return el('li', {}, control
      ? el('button', { type: 'button', class: 'plain', onclick: go }, `${where}: ${reason}`)
      : `${where}${where ? ': ' : ''}${reason}`);
  });
  list.replaceChildren(...(items.length > 0
    ? [el('h2', { tabindex: -1 }, t('problems', items.length)), el('ul', {}, items)] : []));
  list.hidden = items.length === 0;
  list.querySelector('h2')?.focus();
}

/** The control of a key, or of the nearest key around it. */
function controlOf(form, key) {
  for (let at = key; at; at = at.replace(/(\.[^.[]*|\[[0-9]+\])$/, '')) {
    const found = form.querySelector(`[data-key="${CSS.escape(at)}"]`);
    if (found) return found;
    if (!/[.[]/.test(at)) return undefined;
  }
  return undefined;
}

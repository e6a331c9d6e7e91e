// Elements of texts and attributes. Nothing here ever reads HTML out of a text.

const SVG = 'http://www.w3.org/2000/svg';

function furnish(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, '');
    else if (value !== false && value !== undefined && value !== null) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child !== undefined && child !== null));
  return made;
}

/** An element. Attributes that begin with `on` are listeners; what is false or missing is left out. */
export const el = (tag, attributes = {}, ...children) =>
  furnish(document.createElement(tag), attributes, children);

/** The same for a drawing. */
export const draw = (tag, attributes = {}, ...children) =>
  furnish(document.createElementNS(SVG, tag), attributes, children);

/** Puts text into an element if it is another one: a reader of the screen hears only changes. */
export function write(element, text) {
  const wanted = String(text);
  if (element.textContent !== wanted) element.textContent = wanted;
}

/** Tells something for a while, also to those who do not see it. */
export function tell(text, kind = 'well') {
  const told = document.getElementById('told');
  told.className = kind;
  told.textContent = text;
  clearTimeout(tell.timer);
  tell.timer = setTimeout(() => { told.textContent = ''; told.className = ''; }, 8_000);
}

/**
 * Asks before something is done that cannot be taken back: true if it is to be done. `cancel` is what
 * has the focus, so that a second press of a key does not agree.
 */
export function confirmed({ title, lines, yes, no }) {
  return new Promise((resolve) => {
    const dialog = el('dialog', { 'aria-labelledby': 'ask-title' });
    const close = (answer) => { dialog.close(); dialog.remove(); resolve(answer); };
    dialog.append(
      el('h2', { id: 'ask-title' }, title),
      ...lines.map((line) => el('p', {}, line)),
      el('div', { class: 'row' },
        el('button', { type: 'button', autofocus: true, onclick: () => close(false) }, no),
        el('button', { type: 'button', class: 'danger', 'data-yes': '', onclick: () => close(true) }, yes)),
    );
    dialog.addEventListener('cancel', (event) => { event.preventDefault(); close(false); });
    document.body.append(dialog);
    dialog.showModal();
  });
}

// The player page: shows the game, and passes on what is tapped and typed. Text from the wire is
// only ever set as text.

import { Game } from './game.js';
import { LANGUAGES, Speaker, languageFor } from './words.js';

/** The clock on the screen. */
const LOOK_MS = 200;
/** A start that is further away is told by its time, not by a countdown, seconds. */
const COUNTDOWN_MAX_S = 120;
const LETTERS = 'ABCDEFGHIJ';
/** Token and room of this tab: a reload plays on. */
const KEPT = 'tidegate.play';

const at = (id) => document.getElementById(id);

let speaker = new Speaker(languageFor(navigator.languages ?? []));
const game = new Game(() => render());

/** Sets a text where it changed: an assistive technology reads what is set. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Shows a text, or nothing in its place. */
function showText(id, text) {
  const element = at(id);
  element.hidden = text === undefined;
  setText(element, text ?? '');
}

const letter = (option) => LETTERS[option] ?? String(option + 1);
const say = (key, values) => speaker.say(key, values);

// Coming and going ------------------------------------------------------------------------------

/** Token and room in a link's fragment, which no server ever sees. */
function ticketIn(text) {
  const fields = new URLSearchParams(text.slice(text.indexOf('#') + 1));
  return { token: fields.get('token') ?? '', room: fields.get('room') ?? '' };
}

const isWhole = ({ token, room }) => /^[\w.-]+$/.test(token) && /^\d{1,20}$/.test(room);

function keep(ticket) {
  try {
    if (ticket) sessionStorage.setItem(KEPT, JSON.stringify(ticket));
    else sessionStorage.removeItem(KEPT);
  } catch {
    // A browser that keeps nothing asks again after a reload.
  }
}

function kept() {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT) ?? 'null');
  } catch {
    return null;
  }
}

function enter(ticket) {
  try {
    game.enter(ticket.token, ticket.room);
    keep(ticket);
  } catch {
    game.farewell = { key: 'noToken' };
  }
  render();
}

/** Takes the ticket out of the address, where a shoulder or a screenshot would find it. */
function enterByLink() {
  const ticket = ticketIn(location.hash);
  if (!isWhole(ticket)) return false;
  history.replaceState(null, '', location.pathname + location.search);
  enter(ticket);
  return true;
}

function begin() {
  if (enterByLink()) return;
  const ticket = kept();
  if (ticket && isWhole(ticket)) enter(ticket);
  else render();
}

// What is on the screen -------------------------------------------------------------------------

function render() {
  const isIn = game.connection !== 'idle' && game.farewell === undefined;
  document.documentElement.lang = speaker.language === 'zh' ? 'zh-CN' : speaker.language;
  at('entrance').hidden = isIn;
  at('show').hidden = !isIn;
  renderFrame();
  if (!isIn) return renderEntrance();
  renderBadges();
  renderGame();
  renderRain();
  renderChat();
  return renderClock();
}

function renderFrame() {
  const title = game.show?.title || say('title');
  setText(at('title'), title);
  document.title = title;
  showText('online', game.online === undefined ? undefined : say('online', { count: game.online }));
  setText(at('language'), say('otherLanguage'));
  at('language').setAttribute('aria-label', say('languageSwitch'));
  at('language').lang = otherLanguage();
  const { connection } = game;
  const news = connection === 'waiting' ? 'reconnecting' : connection === 'connecting' ? 'connecting' : undefined;
  showText('connection', news && !game.farewell ? say(news) : undefined);
}

function renderEntrance() {
  setText(at('entrance-title'), say('entranceTitle'));
  setText(at('token-label'), say('token'));
  setText(at('room-label'), say('room'));
  setText(at('enter'), say('enter'));
  const { farewell } = game;
  showText('entrance-note', farewell && say(farewell.key, { code: String(farewell.code) }));
}

function renderBadges() {
  const { show, standing, cards, question } = game;
  const count = show?.questionCount;
  const progress = question ? say('progress', { number: question.question + 1, count })
    : say('questions', { count });
  showText('progress', count ? progress : undefined);
  const isKnown = ['in_play', 'out', 'spectator', 'winner'].includes(standing) && show;
  showText('standing', isKnown ? say(standing) : undefined);
  at('standing').dataset.standing = standing ?? '';
  showText('cards', cards > 0 ? say('cards', { count: cards }) : undefined);
  const pool = show?.prizePoolCents;
  showText('pool', pool ? say('pool', { amount: speaker.amount(pool) }) : undefined);
}

function renderGame() {
  const isSettled = game.settled !== undefined || game.standing === 'winner';
  const isAsking = game.isShown && !isSettled;
  at('game').dataset.view = isSettled ? 'settled' : isAsking ? 'question' : 'waiting';
  const prize = isSettled && game.prizeCents > 0 ? speaker.amount(game.prizeCents) : undefined;
  showText('figure', prize);
  renderOptions(isAsking ? game.question : undefined);
  if (isSettled) {
    setText(at('headline'), say(prize ? 'wonTitle' : 'settledTitle'));
    setText(at('status'), settledText());
  } else if (isAsking) {
    setText(at('headline'), game.question.text);
    setText(at('status'), questionText());
    setText(at('aloud'), game.isOpen ? aloudText(game.question) : '');
  } else {
    setText(at('headline'), game.show ? say('welcome') : say('noShow'));
    setText(at('status'), waitingText());
  }
}

function aloudText({ text, options }) {
  return [text, ...options.map((option, index) => `${letter(index)}: ${option}`)].join('. ');
}

function settledText() {
  const { settled, prizeCents, show } = game;
  const texts = [];
  if (settled) {
    const { winners: count, prizePoolCents, perHeadCents } = settled;
    const values = { count, pool: speaker.amount(prizePoolCents), amount: speaker.amount(perHeadCents) };
    texts.push(say(prizeCents > 0 ? 'won' : count > 0 ? 'settled' : 'noWinner', values));
  }
  if (show?.phase === 'ended') texts.push(say('ended'));
  return texts.join(' ');
}

function waitingText() {
  const { show, isSealedHere } = game;
  if (!show) return '';
  if (isSealedHere) return say('comingQuestion');
  switch (show.phase) {
    case 'announced':
    case 'lobby': {
      const leftMs = show.startsAtMs - game.now();
      const isFar = leftMs > COUNTDOWN_MAX_S * 1_000;
      return isFar ? say('startsLater', { time: speaker.time.format(show.startsAtMs) }) : say('startsSoon');
    }
    case 'paused': return say('paused');
    case 'cancelled': return say('cancelled');
    case 'settling': return say('settling');
    case 'ended': return say('ended');
    default: return say('nextQuestion');
  }
}

function questionText() {
  const { chosen, answer, refusal, reveal, question, isVoided, show } = game;
  if (show?.phase === 'cancelled') return say('cancelled');
  if (isVoided) return say('voided');
  if (reveal) return revealText();
  if (answer === 'recorded') return say('sealed', { letter: letter(chosen) });
  if (answer === 'refused') return say('notTaken', { reason: speaker.reason(refusal) });
  if (answer === 'sending') return say('answering');
  if (game.isWatching) return say(game.isOpen ? 'watching' : 'timeUp');
  if (!game.isOpen) return say('timeUpSilent');
  return say(question.last ? 'lastQuestion' : 'choose');
}

function revealText() {
  const { reveal, isRejudged, isDoubtful, isSealedHere, show } = game;
  const texts = [];
  if (isDoubtful) texts.push(say('unchecked'));
  if (isRejudged) texts.push(say('rejudged', { letter: letter(reveal.correctOption) }));
  else texts.push(verdictText());
  texts.push(say('inPlay', { count: reveal.inPlay }));
  if (show?.phase === 'paused') texts.push(say('paused'));
  else if (show?.phase === 'settling') texts.push(say('settling'));
  else if (isSealedHere) texts.push(say('comingQuestion'));
  return texts.join(' ');
}

function verdictText() {
  const { verdict, reveal, chosen } = game;
  if (verdict) {
    if (verdict.usedCard) return say('revived');
    if (verdict.verdict === 'passed') return say(verdict.newRecord ? 'passedRecord' : 'passed');
    const known = ['wrong', 'late', 'silent', 'unreachable'];
    if (known.includes(verdict.verdict)) return `${say(verdict.verdict)} ${say('stayed')}`;
  }
  const isPassed = !game.isWatching && chosen === reveal.correctOption;
  return isPassed ? say('passed') : say('revealed', { letter: letter(reveal.correctOption) });
}

/** The buttons are made once a question: whoever is on one of them stays there. */
let optionsOf;
function renderOptions(question) {
  const group = at('options');
  group.hidden = question === undefined;
  if (question !== optionsOf) {
    optionsOf = question;
    const buttons = question?.options.map((text, option) => optionButton(text, option)) ?? [];
    group.replaceChildren(...buttons);
  }
  if (!question) return;
  const { reveal, chosen } = game;
  const counts = reveal?.optionCounts ?? [];
  const sum = counts.reduce((total, count) => total + count, 0);
  [...group.children].forEach((button, option) => {
    const isCorrect = reveal?.correctOption === option;
    const isChosen = chosen === option;
    button.setAttribute('aria-disabled', String(!game.mayAnswer));
    button.setAttribute('aria-pressed', String(isChosen));
    button.classList.toggle('chosen', isChosen);
    button.classList.toggle('correct', isCorrect);
    button.classList.toggle('wrong', reveal !== undefined && isChosen && !isCorrect);
    button.style.setProperty('--share', String(sum > 0 ? (counts[option] ?? 0) / sum : 0));
    const marks = [isChosen && say('yours'), isCorrect && say('correct')].filter(Boolean);
    setText(button.querySelector('.mark'), marks.join(', '));
    const count = counts[option];
    setText(button.querySelector('.count'), count === undefined ? '' : say('counted', { count }));
  });
}

function optionButton(text, option) {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'option';
  for (const [name, words] of [['letter', letter(option)], ['words', text], ['count', ''], ['mark', '']]) {
    const part = document.createElement('span');
    part.className = name;
    part.textContent = words;
    button.append(part, ' ');
  }
  button.addEventListener('click', () => game.choose(option));
  return button;
}

function renderClock() {
  const { question, show } = game;
  const now = game.now();
  const isLobby = !question && ['announced', 'lobby'].includes(show?.phase);
  const endsMs = game.isOpen ? question.answerByMs : isLobby ? show.startsAtMs : 0;
  const seconds = Math.ceil((endsMs - now) / 1_000);
  const isShown = seconds > 0 && seconds <= COUNTDOWN_MAX_S;
  at('clock').hidden = !isShown;
  if (!isShown) return;
  setText(at('seconds'), String(seconds));
  at('seconds').setAttribute('aria-label', say('secondsLeft', { count: seconds }));
  const wholeMs = question ? question.answerByMs - question.showAtMs : COUNTDOWN_MAX_S * 1_000;
  at('bar').hidden = !question;
  at('bar').style.setProperty('--part', String(Math.min(1, (endsMs - now) / wholeMs)));
  at('clock').classList.toggle('urgent', question !== undefined && seconds <= 3);
}

function renderRain() {
  const { rain, packets, isTappedOut } = game;
  const isOver = rain && !game.isRaining;
  at('rain').hidden = !rain;
  if (!rain) return;
  setText(at('rain-title'), say('rainTitle'));
  setText(at('tap-label'), say('tap'));
  at('tap').hidden = isOver;
  at('tap').setAttribute('aria-disabled', String(isTappedOut));
  const won = [...packets.values()].filter((cents) => cents > 0);
  const amount = speaker.amount(won.reduce((total, cents) => total + cents, 0));
  const texts = [won.length > 0 ? say('rainGot', { count: won.length, amount }) : ''];
  if (isTappedOut && !isOver) texts.push(say('rainUsed'));
  else if (won.length === 0 && !isOver) texts.push(say('rainNone'));
  if (rain.phase === 'ended') {
    texts.push(say('rainOver', { count: rain.grabbed, amount: speaker.amount(rain.paidCents) }));
  }
  setText(at('rain-status'), texts.filter(Boolean).join(' '));
}

let linesShown = [];
function renderChat() {
  setText(at('chat-title'), say('chat'));
  at('text').setAttribute('aria-label', say('say'));
  at('text').placeholder = say('say');
  setText(at('send'), say('send'));
  setText(at('leave'), say('leave'));
  const { lines } = game;
  const list = at('lines');
  if (lines.length === linesShown.length && lines.at(-1) === linesShown.at(-1)) return;
  linesShown = [...lines];
  const isAtEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 8;
  list.replaceChildren(...lines.map(chatLine));
  if (isAtEnd) list.scrollTop = list.scrollHeight;
}

function chatLine({ userId, text }) {
  const line = document.createElement('li');
  const name = document.createElement('b');
  const isOwn = userId === game.userId;
  name.textContent = isOwn ? say('you') : userId === 0n ? say('service') : say('user', { id: userId });
  line.classList.toggle('own', isOwn);
  line.append(name, ' ', text);
  return line;
}

// What is tapped and typed ----------------------------------------------------------------------

const otherLanguage = () => LANGUAGES.find((language) => language !== speaker.language);

at('language').addEventListener('click', () => {
  speaker = new Speaker(otherLanguage());
  linesShown = [];
  setText(at('chat-note'), '');
  render();
});

at('entrance').addEventListener('submit', (event) => {
  event.preventDefault();
  const typed = at('token').value.trim();
  enter({ token: typed, room: at('room').value.trim() });
});

// A whole link was pasted: the room is in it too.
at('token').addEventListener('input', () => {
  const ticket = ticketIn(at('token').value.trim());
  if (!isWhole(ticket)) return;
  at('token').value = ticket.token;
  at('room').value = ticket.room;
});

at('tap').addEventListener('click', () => game.tap());

at('say').addEventListener('submit', async (event) => {
  event.preventDefault();
  const text = at('text').value.trim();
  if (text === '') return;
  const refusal = await game.say(text);
  const isSaid = refusal === undefined;
  if (isSaid && at('text').value.trim() === text) at('text').value = '';
  setText(at('chat-note'), isSaid ? '' : say('notSaid', { reason: speaker.reason(refusal) }));
});

at('leave').addEventListener('click', () => {
  keep(undefined);
  game.leave();
});

addEventListener('hashchange', () => enterByLink());

/** What time alone changes: clocks, and whether a question or a rain is open. */
setInterval(() => {
  if (!at('show').hidden && !document.hidden) render();
}, LOOK_MS);

begin();

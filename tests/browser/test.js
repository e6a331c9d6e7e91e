// What the page does: plays a show with the client as the gateway serves it, and breaks what can be
// broken. `GATEWAYS` is put in front of this by the test, which also serves the page, plays the
// operator and signs tokens.

const client = await import(`${GATEWAYS[0]}/tidegate.js`);
const { Tidegate, TidegateError, decode, encode, checkCommitment, openQuestion, openResult } = client;

const ROOM = 30;
const PATIENCE_MS = 15_000;

/** The sockets that the clients made, newest last: to break them. */
const sockets = [];
window.WebSocket = class extends WebSocket {
  constructor(...parts) {
    super(...parts);
    sockets.push(this);
  }
};
let posted = 0;
const realFetch = window.fetch;
window.fetch = (url, options) => {
  if (String(url).includes('/v1/')) posted += 1;
  return realFetch(url, options);
};
const realRandom = Math.random;

const operator = async (what) => {
  const response = await realFetch(`/operator/${what}`, { method: 'POST' });
  if (!response.ok) throw new Error(`${what}: ${await response.text()}`);
};
const token = async (user) => (await realFetch(`/token?user=${user}`)).text();

function check(holds, text) {
  if (!holds) throw new Error(text);
}

/** The detail of the next event of this type that is as wanted. */
function next(target, type, wanted = () => true) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${type} in time`)), PATIENCE_MS);
    const listen = (event) => {
      if (!wanted(event.detail)) return;
      clearTimeout(timer);
      target.removeEventListener(type, listen);
      resolve(event.detail);
    };
    target.addEventListener(type, listen);
  });
}

async function until(what, holds) {
  const end = Date.now() + PATIENCE_MS;
  while (!holds()) {
    check(Date.now() < end, `not in time: ${what}`);
    await new Promise((resolve) => { setTimeout(resolve, 10); });
  }
}

function player(user, options = {}) {
  const made = new Tidegate({ url: GATEWAYS[0], token: () => token(user), room: ROOM, ...options });
  made.addEventListener('error', ({ detail }) => { throw detail; });
  return made;
}

/** Whether a decoded value says what ProtoJSON says; what JSON leaves out must be a default. */
function same(decoded, json, path) {
  if (decoded instanceof Uint8Array) {
    const bytes = Uint8Array.from(atob(json ?? ''), (letter) => letter.charCodeAt(0));
    check(String(decoded) === String(bytes), `${path}: ${decoded} is not ${json}`);
  } else if (Array.isArray(decoded)) {
    check(decoded.length === (json ?? []).length, `${path} has ${decoded.length} elements`);
    decoded.forEach((each, index) => same(each, json[index], `${path}[${index}]`));
  } else if (typeof decoded === 'bigint') {
    check(decoded === BigInt(json ?? 0), `${path}: ${decoded} is not ${json}`);
  } else if (typeof decoded === 'number') {
    const isName = typeof json === 'string' && json.startsWith('BUSINESS_TYPE');
    check(isName || decoded === Number(json ?? 0), `${path}: ${decoded} is not ${json}`);
  } else if (typeof decoded === 'object') {
    check(json !== undefined, `${path} is there`);
    for (const name of Object.keys(decoded)) {
      if (decoded[name] !== undefined) same(decoded[name], json[name], `${path}.${name}`);
      else check(json[name] === undefined, `${path}.${name} is not there`);
    }
    for (const name of Object.keys(json)) check(name in decoded, `${path}.${name} is not known`);
  } else if (typeof decoded === 'string' && /^[A-Z_]+$/.test(json ?? '')) {
    check(json.toLowerCase().endsWith(decoded), `${path}: ${decoded} is not ${json}`);
  } else if (decoded === 'unspecified' || decoded === 'failed') {
    check(json === undefined || json === 0, `${path}: ${decoded} is not ${json}`);
  } else {
    check(decoded === (json ?? (typeof decoded === 'string' ? '' : false)), `${path}: ${decoded}`);
  }
}

/** Whether a message has only numbers that are kept exactly: times and counts beyond 2^53 are not. */
const isExact = (value) =>
  typeof value === 'number' ? Number.isSafeInteger(value)
    : typeof value !== 'object' || value instanceof Uint8Array || Object.values(value).every(isExact);

async function vectors() {
  const all = await (await realFetch('/vectors')).json();
  check(all.length > 25, `${all.length} vectors`);
  for (const { name, binary, json } of all) {
    const type = name.startsWith('client') ? 'ClientFrame' : 'ServerFrame';
    const bytes = Uint8Array.from(atob(binary), (letter) => letter.charCodeAt(0));
    const message = decode(type, bytes);
    const isNewer = name.includes('unknown');
    if (!isNewer) same(message, json, name);
    if (isNewer || !isExact(message)) continue;
    const again = encode(type, message);
    check(String(again) === String(bytes), `${name}: ${again} is not ${bytes}`);
  }
  for (const broken of [[8], [0x0a, 5, 1], [0x0f], Array(11).fill(255)]) {
    let thrown;
    try { decode('ServerFrame', Uint8Array.from(broken)); } catch (error) { thrown = error; }
    check(thrown instanceof RangeError, `${broken} is refused`);
  }
}

/** What a gateway may send that this one does not need to, over a socket that is none. */
async function batchesAreTakenApart() {
  const real = window.WebSocket;
  let socket;
  window.WebSocket = class {
    constructor() { socket = this; }
    send() {}
    close() {}
  };
  const reader = player(1, { room: 7 });
  const heard = [];
  reader.addEventListener('message', ({ detail }) => heard.push(`${detail.text}${detail.stamp.version}`));
  reader.addEventListener('roomInfo', ({ detail }) => heard.push(`online${detail.online}`));
  const connected = reader.connect();
  await until('a socket', () => socket !== undefined);
  const say = (frame) => {
    socket.onmessage({ data: encode('ServerFrame', { status: 'done', ...frame }).buffer });
  };
  say({ session: { userId: 1n, heartbeatIntervalMs: 10_000 } });
  await connected;
  const positions = [{ lane: 'low', version: 10n }];
  const joined = { roomId: 7n, epoch: 5n, positions };
  say({ type: 1, business: { response: { joined } } });
  const stamp = { roomId: 7n, epoch: 5n, lane: 'low', version: 11n };
  const messages = [{ text: 'a' }, { text: 'b' }];
  const info = { roomId: 7n, online: 3, chatPermille: 1_000 };
  const roomBatch = { messages, thinned: Uint8Array.of(0b1010), info };
  say({ type: 1, business: { notification: { stamp, roomBatch } } });
  check(String(heard) === 'a11,b13,online3', `the second and the fourth were left out: ${heard}`);
  // After a reconnect the batch comes again, whole; what is here is dropped.
  say({ type: 1, business: { response: { joined: { ...joined, resumed: true } } } });
  say({ type: 1, business: { notification: { stamp, roomBatch } } });
  const next = { ...stamp, version: 16n };
  say({ type: 1, business: { notification: { stamp: next, roomMessage: { text: 'c' } } } });
  check(String(heard.filter((it) => !it.startsWith('online'))) === 'a11,b13,c16', `${heard}`);
  reader.close();
  window.WebSocket = real;
}

/** The client enters its room by itself; a `join` that takes the place of that is no error. */
async function aJoinTakesThePlaceOfAnother() {
  const real = window.WebSocket;
  let socket;
  const asked = [];
  window.WebSocket = class {
    constructor() { socket = this; }
    send(bytes) {
      const { business } = decode('ClientFrame', new Uint8Array(bytes));
      if (business?.request?.join) asked.push(business.sequence);
    }
    close() {}
  };
  for (const authenticateBy of ['frame', 'subprotocol']) {
    const errors = [];
    const joiner = new Tidegate({ url: GATEWAYS[0], token: () => token(1), room: 7, authenticateBy });
    joiner.addEventListener('error', ({ detail }) => errors.push(detail));
    const connected = joiner.connect();
    await until('a socket', () => socket !== undefined);
    socket.onopen?.();
    const say = (frame) => {
      socket.onmessage({ data: encode('ServerFrame', { type: 1, status: 'done', ...frame }).buffer });
    };
    say({ type: 0, session: { userId: 1n, heartbeatIntervalMs: 10_000 } });
    await connected;
    // By `subprotocol` the room is in the URL.
    if (authenticateBy === 'subprotocol') asked.unshift('');
    await until('it asks for its room', () => asked.length === 1);
    const joined = joiner.join(7);
    await until('it asks again', () => asked.length === 2);
    const [first, second] = asked.splice(0);
    say({ status: 'failed', failure: { reason: 'not_in_room', sequence: first } });
    say({ business: { sequence: second, response: { joined: { roomId: 7n, epoch: 5n } } } });
    check((await joined).roomId === 7n, 'the newer one is answered');
    check(errors.length === 0, `${authenticateBy}: ${errors}`);
    joiner.close();
    socket = undefined;
  }
  window.WebSocket = real;
}

/** What no gateway would take, in a URL not even as a refusal, is told where it is given. */
async function aRoomThatIsNoneIsToldAtOnce() {
  for (const room of [0, -1, 2n ** 64n, '']) {
    let thrown;
    try { player(8, { room }); } catch (error) { thrown = error; }
    check(thrown instanceof RangeError, `room ${room} is refused: ${thrown}`);
    thrown = await new Tidegate({ url: GATEWAYS[0], token: '' }).join(room).catch((error) => error);
    check(thrown instanceof RangeError, `join(${room}) is refused: ${thrown}`);
  }
}

/** What the gateway will never allow is not asked for again with every connection. */
async function aRoomThatIsRefusedIsForgotten() {
  for (const authenticateBy of ['frame', 'subprotocol']) {
    const errors = [];
    // Its token is good for another room only.
    const options = { url: GATEWAYS[0], token: () => token('8&rooms=77'), room: ROOM, authenticateBy };
    const lost = new Tidegate(options);
    lost.addEventListener('error', ({ detail }) => errors.push(detail.reason));
    await lost.connect();
    await until('the refusal', () => errors.length > 0);
    check(String(errors) === 'room_forbidden' && lost.room === undefined, `${authenticateBy}: ${errors}`);
    lost.close();
  }
}

/** Only the newest of two attempts may go on, however long its token takes. */
async function closingWhileATokenIsFetched() {
  const before = sockets.length;
  const fetched = [];
  const hasty = new Tidegate({
    url: GATEWAYS[0],
    token: () => new Promise((resolve) => { fetched.push(resolve); }),
  });
  hasty.connect().catch(() => {});
  hasty.close();
  const connected = hasty.connect();
  await until('two fetches', () => fetched.length === 2);
  for (const resolve of fetched) resolve(await token(9));
  await connected;
  check(sockets.length === before + 1, `${sockets.length - before} sockets`);
  hasty.close();
}

async function aQuestionIsPlayed(alice) {
  const asked = next(alice, 'question');
  await operator('publish');
  const question = await asked;
  check(question.text === 'Question 0?' && question.options.length === 3, 'the question is whole');
  await alice.showTime(question);
  check(alice.now() >= question.showAtMs, 'it is shown at its time');
  const before = posted;
  const received = await alice.answer(question, 1);
  check(received.result.ciphertext.length === 32 && posted === before, 'by the connection');
  const again = await alice.answer(question, 2);
  check(String(again.result.nonce) === String(received.result.nonce), 'the first binds');
  const [verdict, reveal] = [next(alice, 'verdict'), next(alice, 'reveal')];
  await operator('reveal');
  const { verdict: word, inPlay, isChecked, option, passed } = await verdict;
  check(word === 'passed' && inPlay && isChecked && option === 1 && passed === 1, word);
  const forged = { ...await reveal, correctOption: 2 };
  check(await checkCommitment(question.commitment, await reveal), 'the reveal is as promised');
  check(!await checkCommitment(question.commitment, forged), 'another one is not');
  const opened = await openResult(received.result, forged.resultKey, alice.userId);
  check(opened.verdict === 'passed', 'a result can be opened by hand');
}

/** The question lies here, sealed, until its key comes; who cannot open it gets it whole. */
async function aQuestionComesEarly(alice) {
  const plain = player(6);
  // As if this one's seal had been lost, or were another's.
  plain.addEventListener('sealedQuestion', ({ detail }) => detail.ciphertext.fill(0));
  const plainJoined = next(plain, 'joined');
  await plain.connect();
  await plainJoined;
  const [first, gone] = [next(alice, 'sealedQuestion'), next(alice, 'questionWithdrawn')];
  await operator('push-early');
  await first;
  await operator('withdraw');
  await gone;
  const sealedNext = next(alice, 'sealedQuestion');
  await operator('push-early');
  const sealed = await sealedNext;
  check(sealed.ciphertext.length === 256 + 16, `${sealed.ciphertext.length} bytes`);
  const late = player(7);
  const [lateSealed, lateJoined] = [next(late, 'sealedQuestion'), next(late, 'joined')];
  await late.connect();
  await lateJoined;
  check(String((await lateSealed).ciphertext) === String(sealed.ciphertext), 'the same bytes');
  const [keyNext, asked] = [next(alice, 'questionKey'), next(alice, 'question')];
  const [askedLate, askedPlain] = [next(late, 'question'), next(plain, 'question')];
  await operator('publish');
  const [key, question] = [await keyNext, await asked];
  check(question.text === 'Question 1?' && question.options.length === 3, 'the key opens it');
  check(question.last && question.answerByMs - question.showByMs === 3_000, 'with its times');
  check((await openQuestion(sealed, key)).text === question.text, 'it can be opened by hand');
  check((await askedLate).text === question.text, 'who joined meanwhile has it');
  check((await askedPlain).text === question.text, 'who cannot open it has it');
  late.close();
  plain.close();
  return question;
}

async function aBreakDuringAQuestion(alice) {
  const question = await aQuestionComesEarly(alice);
  // The network breaks, and the client would wait for seconds.
  Math.random = () => 0.99;
  const lost = next(alice, 'disconnected');
  sockets.findLast((socket) => socket.readyState === WebSocket.OPEN).close(4900);
  check((await lost).returns && alice.state === 'waiting', 'it is to come back');
  const before = posted;
  const received = await alice.answer(question, 1);
  check(posted === before + 1 && received.result, 'the answer goes by HTTP');
  let refused;
  try { await alice.publish('x'); } catch (error) { refused = error; }
  check(refused instanceof TidegateError && refused.reason === 'connection', 'nothing else does');
  for (const text of ['one', 'two', 'three']) await operator(`say/${text}`);
  Math.random = realRandom;
  const messages = [];
  alice.addEventListener('message', ({ detail }) => messages.push(new TextDecoder().decode(detail.data)));
  const [joined, snapshot] = [next(alice, 'joined'), next(alice, 'snapshot')];
  window.dispatchEvent(new Event('online'));
  check((await joined).resumed, 'it continues where it was');
  check((await snapshot).recordedOption === 1, 'the answer is on record');
  await until('what was missed', () => messages.length >= 3);
  check(String(messages) === 'one,two,three', `exactly what was missed: ${messages}`);
  const verdict = next(alice, 'verdict');
  await operator('reveal');
  check((await verdict).verdict === 'passed', 'a result that came by HTTP is opened');
}

async function chatIsHeard(alice) {
  const bob = player(2, { authenticateBy: 'frame' });
  await bob.connect();
  const heard = next(alice, 'message', ({ userId }) => userId === 2n);
  const text = '你好, tide';
  const stamp = await bob.join(ROOM).then(() => bob.chat(text));
  const message = await heard;
  check(message.text === text, 'the text is heard');
  check(message.stamp.version === stamp.version && stamp.lane === 'low', 'at its place');
  const left = await bob.leave();
  check(left.roomId === 30n && bob.room === undefined, 'bob has left');
  let refused;
  try { await bob.publish('x'); } catch (error) { refused = error; }
  check(refused.reason === 'not_in_room', `refused: ${refused}`);
  bob.close();
  check(bob.state === 'closed', 'bob is gone');
}

async function aNewerSessionReplaces(alice) {
  const replaced = next(alice, 'disconnected');
  const newer = player(1);
  await newer.connect();
  const { code, returns } = await replaced;
  check(code === 4000 && !returns && alice.state === 'closed', `closed with ${code}`);
  newer.close();
}

/** The page of the documents, in a frame of this one: once it is in the room, what it is to do. */
async function theExampleOfTheDocuments() {
  const frame = document.getElementById('example');
  frame.src = '/example.html';
  const at = (id) => frame.contentDocument?.getElementById(id);
  await until('the example is in the room', () => at('status')?.textContent.includes('in the room'));
  return async () => {
    await until('its buttons', () => at('options').children.length === 3);
    check(at('question').textContent === 'Question 0?', 'the question is shown');
    at('options').children[1].click();
    await until('its answer', () => at('status').textContent.includes('on record'));
    await until('its verdict', () => at('status').textContent === 'You are in.');
    check(at('options').children[1].className === 'correct', 'the correct option is marked');
    frame.src = 'about:blank';
  };
}

async function tokensAreRefused() {
  const reasons = [];
  const again = new Tidegate({
    url: GATEWAYS[0],
    token: async (reason) => {
      reasons.push(reason);
      return reasons.length === 1 ? 'a.b.c' : token(5);
    },
  });
  await again.connect();
  check(String(reasons) === 'connect,refused' && again.userId === 5n, `${reasons}`);
  again.close();
  const never = new Tidegate({ url: GATEWAYS[0], token: 'a.b.c' });
  let refused;
  try { await never.connect(); } catch (error) { refused = error; }
  check(refused instanceof TidegateError && never.state === 'closed', 'one token is not enough');
}

/** The client goes where it is sent, asks again when that was in vain, and does without if need be. */
async function aDispatcherSaysWhereToGo() {
  const real = window.fetch;
  const answers = [];
  const asked = [];
  window.fetch = async (url, options) => {
    if (!String(url).includes('/gateways')) return real(url, options);
    asked.push(new URL(url));
    const next = answers.shift();
    const headers = { 'Retry-After': '1' };
    return typeof next === 'number'
      ? new Response('{}', { status: next, headers }) : new Response(JSON.stringify(next));
  };
  const list = (ttl_s, ...urls) => ({ ttl_s, gateways: [{ urls }] });
  // The same port on another address of this host: nobody listens there.
  const dead = GATEWAYS[0].replace('127.0.0.1', '127.0.0.2');
  const at = (url) => sockets.at(-1).url.startsWith(url.replace('http', 'ws'));
  const open = async (options) => {
    const errors = [];
    const dave = new Tidegate({ token: () => token(3), ...options });
    dave.addEventListener('error', ({ detail }) => errors.push(detail));
    await dave.connect();
    return { dave, errors };
  };
  Math.random = () => 0.001;
  const dispatch = '/v1/gateways';

  answers.push(list(60, 'none of these', dead, GATEWAYS[1]));
  const { dave, errors } = await open({ dispatch });
  check(at(GATEWAYS[1]) && asked.length === 1 && errors.length === 0, `the second one: ${errors}`);
  check(asked[0].searchParams.get('part') === '0', 'it draws a part');
  const back = next(dave, 'session');
  sockets.at(-1).close(4900);
  await back;
  check(at(GATEWAYS[1]) && asked.length === 1, 'a young list is used again');
  dave.close();

  answers.push(503, list(0, dead), list(0, GATEWAYS[0]));
  const second = await open({ dispatch });
  check(at(GATEWAYS[0]) && asked.length === 4, `asked ${asked.length} times`);
  const [{ reason, retryAfterMs }] = second.errors;
  check(second.errors.length === 1 && reason === 'connection', `${second.errors}`);
  check(retryAfterMs === 1_000, 'when to come again is told');
  const moved = next(second.dave, 'session');
  answers.push(list(60, GATEWAYS[1]));
  sockets.at(-1).close(4900);
  await moved;
  check(at(GATEWAYS[1]) && asked.length === 5, 'an old list is asked for anew');
  second.dave.close();

  answers.push(500, list(60), 404);
  const third = await open({ dispatch, url: [dead, dead, GATEWAYS[0]] });
  check(at(GATEWAYS[0]) && asked.length === 8, 'what was given is tried meanwhile');
  check(third.errors.length === 3, `${third.errors}`);
  third.dave.close();
  let thrown;
  try { new Tidegate({ token: 'x' }); } catch (error) { thrown = error; }
  check(thrown instanceof TypeError, 'one of the two must be given');
  Math.random = realRandom;
  window.fetch = real;
}

async function theGatewayStops() {
  Math.random = () => 0.001;
  const carol = player(4, { url: GATEWAYS });
  await carol.connect();
  const [gone, back] = [next(carol, 'disconnected'), next(carol, 'session')];
  await operator('stop');
  const { code, returns } = await gone;
  check(code === 1001 && returns, `closed with ${code}`);
  await back;
  check(sockets.at(-1).url.startsWith(GATEWAYS[1].replace('http', 'ws')), 'the other gateway');
  const joined = await carol.join(ROOM + 1);
  check(joined.roomId === 31n && !joined.resumed, 'another room');
  carol.close();
  Math.random = realRandom;
}

export async function run(log) {
  await log('vectors');
  await vectors();
  const alice = player(1);
  check(alice.state === 'idle', 'nothing has begun');
  const joined = next(alice, 'joined');
  const session = await alice.connect();
  check(session.userId === 1n && alice.userId === 1n, 'the session is alice’s');
  check((await joined).roomId === 30n, 'alice is in the room');
  await log('batches');
  await batchesAreTakenApart();
  await log('a newer join');
  await aJoinTakesThePlaceOfAnother();
  await log('rooms that are none, or refused');
  await aRoomThatIsNoneIsToldAtOnce();
  await aRoomThatIsRefusedIsForgotten();
  await log('closing while a token is fetched');
  await closingWhileATokenIsFetched();
  await log('a question is played, by the example of the documents too');
  const examplePlays = await theExampleOfTheDocuments();
  await Promise.all([aQuestionIsPlayed(alice), examplePlays()]);
  await until('a clock', () => alice.rttMs !== undefined);
  const differsMs = Math.abs(alice.now() - Date.now());
  check(alice.rttMs < 200 && differsMs < 200, `the clocks differ by ${differsMs} ms`);
  await log('chat');
  await chatIsHeard(alice);
  await log('a break during a question');
  await aBreakDuringAQuestion(alice);
  await log('a newer session');
  await aNewerSessionReplaces(alice);
  await log('tokens');
  await tokensAreRefused();
  await log('a dispatcher');
  await aDispatcherSaysWhereToGo();
  await log('the gateway stops');
  await theGatewayStops();
}

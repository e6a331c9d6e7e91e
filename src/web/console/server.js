// Requests to the console's server. Every change carries the session's token and, where two clicks
// would be two things, a key by which the second is known.

/** Bytes of randomness in a key. */
const KEY_BYTES = 16;
const PATIENCE_MS = 15_000;

let token = '';

/** An answer that is an error, or none: then `code` is `unreachable`. `problems` has one by one what is
 * wrong, where there are several things. */
export class ServerError extends Error {
  constructor(status, code, message, problems) {
    super(message);
    this.status = status;
    this.code = code;
    this.problems = problems;
  }
}

async function ask(method, path, { body, key, type = 'application/json' } = {}) {
  const headers = {};
  if (method !== 'GET') {
    headers['Content-Type'] = type;
    headers['X-Tidegate-Token'] = token;
    if (key !== undefined) headers['Idempotency-Key'] = key;
  }
  let response;
  try {
    response = await fetch(`/console/api/${path}`, {
      method, headers, body, signal: AbortSignal.timeout(PATIENCE_MS),
    });
  } catch (error) {
    throw new ServerError(0, 'unreachable', String(error));
  }
  let answer;
  try { answer = await response.json(); } catch { answer = {}; }
  if (response.ok) return answer;
  const { code = 'unknown', message = `HTTP ${response.status}`, problems } = answer.error ?? {};
  throw new ServerError(response.status, code, message, problems);
}

export const get = (path) => ask('GET', path);
export const post = (path, body = {}, key = undefined) =>
  ask('POST', path, { body: JSON.stringify(body), key });
export const put = (path, body) => ask('PUT', path, { body: JSON.stringify(body) });
export const del = (path) => ask('DELETE', path);
/** Sends a file or a text as it is. */
export const sendBytes = (path, type, body) => ask('POST', path, { body, type });

/** A key for one thing that is to be done once. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(KEY_BYTES));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Who is logged in: name and role; nothing if nobody is. */
export async function session() {
  const found = await get('session');
  if (found.name === null) return undefined;
  token = found.token;
  return found;
}

export async function logIn(name, password) {
  const found = await post('login', { name, password });
  token = found.token;
  return found;
}

export async function logOut() {
  await post('logout');
  token = '';
}

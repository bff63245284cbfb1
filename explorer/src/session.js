/**
 * Who is signed in, for as long as the page is open. Tokens are kept in memory and nowhere else: what scripts of other
 * pages, extensions of the browser or the next person at this machine cannot find, they cannot use.
 */
const { pathname, origin } = location;
const endpoint = new URL(pathname, origin);
const addressOf = (name) => new URL(`api/auth/${name}`, endpoint);

let tokens = null;
let refreshing = null;
let onEnd = () => {};

/** Calls back when somebody has to sign in again. */
export function whenSessionEnds(callback) {
  onEnd = callback;
}

/** Whether the server answers without a proof, or with the one that is there. */
export async function isKnown() {
  const answer = await post(endpoint, { query: '{ __typename }' }, proof());
  await answer.text(); // What nobody reads counts as broken off.
  return answer.status !== 401;
}

/** Begins a session. Throws an Error with what the server said. */
export async function signIn(email, password) {
  const answer = await post(addressOf('login'), { email, password });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error);
  tokens = body;
}

/** Uses a token that somebody has: an API token, or one of an identity provider. Throws an Error when it does not hold. */
export async function useToken(token) {
  tokens = { access_token: token };
  if (await isKnown()) return;
  tokens = null;
  throw new Error('The token does not hold');
}

/** What a WebSocket says at its beginning, because browsers cannot send headers there. */
export function proof() {
  return tokens ? { authorization: `Bearer ${tokens.access_token}` } : {};
}

/** `fetch` with the proof, which is renewed when it has expired. A header that the user has typed goes before it. */
export async function provenFetch(address, options = {}) {
  const given = new Headers(options.headers);
  if (given.has('authorization')) return fetch(address, options);
  const ask = () => fetch(address, { ...options, headers: { ...Object.fromEntries(given), ...proof() } });
  const answer = await ask();
  if (answer.status !== 401) return answer;
  if (await refresh()) return ask();
  onEnd();
  return answer;
}

/** Gets other tokens: once for all who ask at the same time, because a refresh token is good once. */
async function refresh() {
  if (!tokens?.refresh_token) return false;
  refreshing ??= exchange(tokens.refresh_token).finally(() => {
    refreshing = null;
  });
  return refreshing;
}

async function exchange(refreshToken) {
  const answer = await post(addressOf('refresh'), { refresh_token: refreshToken });
  tokens = answer.ok ? await answer.json() : null;
  return answer.ok;
}

function post(address, body, headers = {}, options = {}) {
  const sent = { 'content-type': 'application/json', ...headers };
  return fetch(address, { method: 'POST', headers: sent, body: JSON.stringify(body), credentials: 'omit', ...options });
}

// The session ends with the page: nobody could go on with it.
addEventListener('pagehide', () => {
  if (tokens?.refresh_token) post(addressOf('logout'), { refresh_token: tokens.refresh_token }, {}, { keepalive: true });
});

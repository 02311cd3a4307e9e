/**
 * The session: the viewer's name and scopes, and whether the console may change anything.
 *
 * Rules:
 *
 * 1. It is read at the start, after a sign-in or sign-out, when the server has come back, and after an answer of 401.
 * 2. Without keys every scope is given. A read-only console has none of `submit` and `operate`.
 * 3. `signedIn` is false where keys are needed and none was given: the shell then shows the sign-in page.
 */

import {get, send, setKeysInUse, unauthorized} from "../data/api.js";
import {connection} from "../data/connection.js";
import {OWN_FOLDER} from "../data/mount.js";
import {forgetAll} from "../data/polling.js";
import {createStore, useStore} from "../data/store.js";

const CHANGING = ["submit", "operate"];
const AGAIN_S = 2;

/** Its path. */
export const SESSION = `${OWN_FOLDER}session`;

const UNKNOWN = {known: false, signedIn: false, name: null, scopes: [], readonly: true, version: null, keys: false, store: false};

const session = createStore(UNKNOWN);

/** The version of the server that sent this page; null until it is known. */
let ownVersion = null;

/** Read the session again. */
export async function loadSession() {
  const before = session.get();
  let next;
  try {
    const document = await get(SESSION);
    ownVersion ??= document.version;
    next = {...document, known: true, signedIn: !document.keys || document.scopes.length > 0};
  } catch (problem) {
    if (problem.status === 0) return; // `connection` asks again
    if (problem.status !== 401) {
      setTimeout(loadSession, 1000 * (problem.retryAfterS ?? AGAIN_S));
      return;
    }
    next = {...UNKNOWN, known: true, keys: true, version: before.version};
  }
  setKeysInUse(next.keys);
  session.set(next);
  if (before.known && (before.name !== next.name || before.signedIn !== next.signedIn)) forgetAll();
}

async function signOut() {
  await send("DELETE", SESSION);
  await loadSession();
}

unauthorized.subscribe(() => session.get().signedIn && loadSession());
connection.subscribe(({goneSince}) => goneSince === null && loadSession());

/**
 * Return the session.
 *
 * @returns {{known: boolean, signedIn: boolean, name: string|null, scopes: string[], readonly: boolean, keys: boolean,
 *   store: boolean, version: string|null, ownVersion: string|null, may: function(string): boolean, mayChange: function(string): boolean,
 *   signOut: function(): Promise<void>}} `may(scope)`: whether the scope is given; `mayChange(scope)`: and whether the
 *   console changes anything at all.
 */
export function useSession() {
  const now = useStore(session);
  const may = (scope) => now.scopes.includes(scope) && !(now.readonly && CHANGING.includes(scope));
  return {...now, ownVersion, may, mayChange: (scope) => !now.readonly && now.scopes.includes(scope), signOut};
}

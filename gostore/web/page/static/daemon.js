/**
 * What the page asks of the daemon: the interface of docs/http.md, and nothing else.
 *
 * Every request says X-Requested-With, so that a 401 makes no browser ask for a password: the page
 * asks itself (signin.js). What it is told stays in this tab, in sessionStorage, and goes out as
 * Authorization only, never in a URL.
 */

import { encode } from "./text.js";

const facts = document.body.dataset;

export const STORE = new URL(facts.top, document.baseURI);
STORE.search = STORE.hash = "";
export const UPLOADS = "uploads" in facts ? new URL("../uploads/", STORE) : null;
export const HAS_HISTORY = "history" in facts;

const KEY = `gostore authorization ${STORE.pathname}`;

export const credentials = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

/** Asks the user who they are, and resolves to whether they said it. The page sets it. */
export const door = { signIn: async () => false };

export class Refused extends Error {
  constructor(status, text, headers) {
    super(text);
    this.status = status;
    this.headers = headers;
  }
}

export class Unreachable extends Error {
  constructor() {
    super("The daemon does not answer");
  }
}

export const url = (location, query = "") => new URL(`${encode(location)}${query}`, STORE);

export function headersFor(headers = {}) {
  const all = { "X-Requested-With": "gostore", ...headers };
  const known = credentials.get();
  if (known !== null) all.Authorization = known;
  return all;
}

/** The sentence in an answer that is an error. */
export function textOf(status, body) {
  try {
    return JSON.parse(body).text || `The daemon answered ${status}`;
  } catch {
    return `The daemon answered ${status}`;
  }
}

export async function ask(method, where, { headers, body, signal, keepalive } = {}) {
  for (;;) {
    let answer;
    try {
      const all = headersFor(headers);
      answer = await fetch(where, { method, headers: all, body, signal, keepalive, cache: "no-store" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Unreachable();
    }
    if (answer.status === 401 && (await door.signIn())) continue;
    if (answer.ok || answer.status === 304) return answer;
    throw new Refused(answer.status, textOf(answer.status, await answer.text()), answer.headers);
  }
}

function next(answer) {
  const found = /<([^>]*)>;\s*rel="next"/.exec(answer.headers.get("Link") || "");
  return found === null ? null : new URL(found[1], answer.url);
}

/** What an answer lists. A version over a bucket has more digits than a number has here: it is text. */
async function listed(answer) {
  return JSON.parse((await answer.text()).replace(/("version": ?)(\d+)/g, '$1"$2"'));
}

/** The pages of a list, one after another; the first one is small, so that it comes soon. */
export async function* pages({ isDeleted, ...parameters }, signal) {
  const query = new URLSearchParams({ ...parameters, format: "json", limit: 1000 });
  let where = new URL(`?${isDeleted ? "deleted&" : ""}${query}`, STORE);
  while (where !== null) {
    const answer = await ask("GET", where, { signal });
    yield await listed(answer);
    where = next(answer);
    if (where !== null) where.search = where.search.replace(/limit=\d+/, "limit=10000");
  }
}

export async function head(location) {
  return ask("HEAD", url(location));
}

/** Delete a blob, if it still is the one that the user saw. */
export async function remove(location, etag) {
  await ask("DELETE", url(location), { headers: etag ? { "If-Match": etag } : {} });
}

export async function history(location, before = null) {
  const more = before === null ? "" : `&before=${before}`;
  const answer = await ask("GET", url(location, `?history&format=json&limit=100${more}`));
  return { versions: await listed(answer), isAll: next(answer) === null };
}

/** Make a version current again, if what is there still is what the user saw: null for nothing. */
export async function restore(location, version, etag) {
  const headers = etag === null ? { "If-None-Match": "*" } : { "If-Match": etag };
  const answer = await ask("POST", url(location, `?restore=${version}`), { headers });
  return answer.headers.get("ETag");
}

export async function usage() {
  const answer = await ask("GET", new URL("../usage", STORE));
  return answer.json();
}

let rules = [{ prefix: "", seconds: 0 }];
export const setRules = (keep) => (rules = keep);

/** For how many seconds a location has a history: 0 for none, null for ever. */
export function keptFor(location) {
  let best = rules[0];
  for (const rule of rules) {
    if (location.startsWith(rule.prefix) && rule.prefix.length >= best.prefix.length) best = rule;
  }
  return best.seconds;
}

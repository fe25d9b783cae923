/**
 * All files on their way: a few at a time, paused and resumed, tried again while nobody answers.
 *
 * What is not finished is remembered in localStorage, by location, size and time of the file. After
 * a reload the user gives the same files again (a page may not open them by itself), and each goes
 * on where it stopped.
 */

import { Refused, STORE, Unreachable } from "./daemon.js";
import { Sending, forget } from "./sending.js";

const AT_A_TIME = 4;

/** Seconds between two attempts while the daemon does not answer. */
const LONGEST_WAIT = 30;

/** Milliseconds after which nothing is remembered: by then the daemon has forgotten it, too. */
const STALE = 2 * 86_400_000;

const PREFIX = `gostore upload ${STORE.pathname} `;

/** Statuses that may be others a moment later: overload, a daemon that stops, a request before. */
const PASSING = [423, 429, 500, 502, 503, 504];

class Memory {
  constructor(location, file) {
    this.key = `${PREFIX}${JSON.stringify([location, file.size, file.lastModified])}`;
  }

  get() {
    try {
      return JSON.parse(localStorage.getItem(this.key)) ?? {};
    } catch {
      return {};
    }
  }

  set(known) {
    try {
      localStorage.setItem(this.key, JSON.stringify({ ...known, at: Date.now() }));
    } catch {
      // No room, or it is forbidden. Then this file begins anew after a reload.
    }
  }

  forget() {
    localStorage.removeItem(this.key);
  }
}

/** What an earlier page has not finished: location, size and the upload of each file. */
export function remembered() {
  const found = [];
  for (const key of Object.keys(localStorage)) {
    if (!key.startsWith(PREFIX)) continue;
    try {
      const [location, size] = JSON.parse(key.slice(PREFIX.length));
      const known = JSON.parse(localStorage.getItem(key));
      if (Date.now() - known.at > STALE) localStorage.removeItem(key);
      else found.push({ key, location, size, url: known.url ?? null, isDone: Boolean(known.etag) });
    } catch {
      localStorage.removeItem(key);
    }
  }
  return found;
}

/** Forget all of it, here and at the daemon. */
export async function forgetRemembered() {
  const found = remembered();
  for (const each of found) localStorage.removeItem(each.key);
  for (const each of found) if (each.url !== null) await forget(each.url);
}

export class Uploads {
  #stopping = new AbortController();
  #sending = 0;
  #timer = null;
  #next = 0;
  #items = new Map();

  /** `changed` is called when there is something to show, `stored` for each new blob. */
  constructor({ changed, stored }) {
    this.items = [];
    this.isPaused = false;
    this.waitsUntil = null;
    this.attempts = 0;
    this.changed = changed;
    this.stored = stored;
    addEventListener("online", () => this.#tryNow());
  }

  /** Take files, each with its location. */
  add(found) {
    for (const { file, location } of found) {
      const there = this.#items.get(location);
      if (there !== undefined && ["waiting", "sending"].includes(there.state)) continue;
      const item = { file, location, state: "waiting", sent: 0, reason: "", replaces: false };
      item.memory = new Memory(location, file);
      if (Object.keys(item.memory.get()).length === 0) item.memory.set({});
      this.#items.set(location, item);
      this.items.push(item);
    }
    this.#work();
  }

  get isBusy() {
    return this.items.some((item) => item.state === "waiting" || item.state === "sending");
  }

  pause() {
    this.isPaused = true;
    this.#stopping.abort();
    this.#stopping = new AbortController();
    this.changed();
  }

  resume() {
    this.isPaused = false;
    this.#tryNow();
  }

  /** What the user decides about a file that did not go: again, over what is there, or not at all. */
  decide(item, word) {
    if (item.state !== "there" && item.state !== "failed") return;
    if (word === "skip") {
      item.state = "skipped";
      item.memory.forget();
    } else {
      item.replaces ||= word === "replace";
      // The upload that failed had other conditions.
      if (word === "replace") item.memory.set({});
      Object.assign(item, { state: "waiting", reason: "", sent: 0 });
      this.#next = 0;
    }
    this.#work();
  }

  /** Forget what is over. */
  clear() {
    const isOver = (item) => !["waiting", "sending"].includes(item.state);
    for (const item of this.items.filter(isOver)) {
      item.memory.forget();
      this.#items.delete(item.location);
    }
    this.items = this.items.filter((item) => !isOver(item));
    this.#next = 0;
    this.changed();
  }

  #tryNow() {
    clearTimeout(this.#timer);
    this.waitsUntil = null;
    this.#work();
  }

  #work() {
    while (!this.isPaused && this.waitsUntil === null && this.#sending < AT_A_TIME) {
      const item = this.#nextItem();
      if (item === undefined) break;
      this.#send(item);
    }
    this.changed();
  }

  /** The next one that waits. A search from the beginning for each of 10,000 would take its time. */
  #nextItem() {
    while (this.#next < this.items.length && this.items[this.#next].state !== "waiting") this.#next++;
    return this.items[this.#next];
  }

  async #send(item) {
    item.state = "sending";
    this.#sending++;
    const { file, location, replaces, memory } = item;
    const told = (sent) => {
      item.sent = Math.min(sent, file.size);
      this.changed();
    };
    const sending = new Sending({ file, location, replaces, memory, signal: this.#stopping.signal, told });
    try {
      const etag = await sending.run();
      Object.assign(item, { state: "done", sent: file.size });
      this.attempts = 0;
      this.stored({ location, size: file.size, etag, content_type: file.type || null, modified: new Date().toISOString() });
    } catch (error) {
      this.#failed(item, error);
    }
    this.#sending--;
    if (!this.isBusy) this.#finished();
    this.#work();
  }

  #failed(item, error) {
    if (error.name === "AbortError") return this.#again(item);
    const isPassing = error instanceof Refused && PASSING.includes(error.status);
    if (error instanceof Unreachable || isPassing) {
      this.#again(item);
      if (this.waitsUntil === null && !this.isPaused) this.#wait(error);
    } else if (error instanceof Refused && [409, 412].includes(error.status)) {
      Object.assign(item, { state: "there", reason: "There is a blob of this name already" });
    } else {
      // NotReadableError: the file was changed or removed meanwhile.
      const reason = error instanceof Refused ? error.message : `It cannot be read: ${error.message}`;
      Object.assign(item, { state: "failed", reason });
    }
  }

  #again(item) {
    item.state = "waiting";
    this.#next = Math.min(this.#next, this.items.indexOf(item));
  }

  #wait(error) {
    const asked = error instanceof Refused ? Number(error.headers.get("Retry-After")) : 0;
    const seconds = Math.min(Math.max(2 ** this.attempts++, asked || 0), LONGEST_WAIT);
    this.waitsUntil = Date.now() + 1000 * seconds;
    this.trouble = error.message;
    this.#timer = setTimeout(() => this.#tryNow(), 1000 * seconds);
  }

  /** Nothing is left to go on with, so nothing has to be remembered. */
  #finished() {
    for (const item of this.items) if (item.state === "done") item.memory.forget();
  }
}

/**
 * What is in the list that is shown: all of it, as far as it has come, and the part that is wanted.
 *
 * The daemon gives a list in the order of its names, page by page. A list of 100,000 entries takes
 * it a second or two; the rows that are there already can be used meanwhile.
 */

import { pages } from "./daemon.js";

/** More rows than this no browser scrolls: an element has a largest height. */
export const MOST = 300_000;

function entryOf(told, prefix) {
  const location = told.prefix ?? told.location;
  const name = location.slice(prefix.length) || location;
  return {
    location,
    name,
    lower: name.toLowerCase(),
    isFolder: told.prefix !== undefined,
    size: told.size ?? -1,
    etag: told.etag ?? null,
    modified: told.ended?.time ?? told.modified ?? null,
    type: told.content_type ?? null,
    expires: told.expires ?? null,
    isDamaged: told.damaged === true,
    version: told.version ?? null,
  };
}

export class Entries {
  #all = [];
  #changed;
  #loading = null;

  /** `changed` is called whenever there is something else to show. */
  constructor(changed) {
    this.#changed = changed;
    this.prefix = "";
    this.isFlat = this.isDeleted = this.isWhole = false;
    this.error = null;
  }

  /** Forget what there is, and get another list. What is asked for already is given up. */
  async load({ prefix, isFlat, isDeleted }) {
    this.#loading?.abort();
    const loading = (this.#loading = new AbortController());
    Object.assign(this, { prefix, isFlat, isDeleted, isWhole: false, error: null });
    const parameters = isDeleted
      ? { isDeleted, prefix }
      : { prefix, delimiter: isFlat ? "" : "/" };
    const found = [];
    try {
      for await (const page of pages(parameters, loading.signal)) {
        if (loading.signal.aborted) return;
        for (const told of page) found.push(entryOf(told, prefix));
        this.#all = found;
        this.isWhole = found.length < MOST;
        if (!this.isWhole) break;
        this.#changed();
      }
    } catch (error) {
      if (loading.signal.aborted) return;
      if (found.length === 0) this.#all = found;
      this.error = error;
    }
    if (this.#loading === loading) this.#loading = null;
    this.#changed();
  }

  get isLoading() {
    return this.#loading !== null;
  }

  /** There is a blob now: show it where it belongs, or the folder that it is in. */
  put(told) {
    if (this.isDeleted || !told.location.startsWith(this.prefix)) return;
    const rest = told.location.slice(this.prefix.length);
    const slash = rest.indexOf("/");
    const isBelow = slash >= 0 && !this.isFlat;
    const entry = entryOf(
      isBelow ? { prefix: this.prefix + rest.slice(0, slash + 1) } : told,
      this.prefix,
    );
    const at = this.#place(entry.location);
    const isThere = this.#all[at]?.location === entry.location;
    if (isThere && isBelow) return;
    this.#all.splice(at, isThere ? 1 : 0, entry);
    this.#changed();
  }

  /** The blob of a location is gone. */
  drop(location) {
    const at = this.#place(location);
    if (this.#all[at]?.location !== location) return;
    this.#all.splice(at, 1);
    this.#changed();
  }

  /** Where a location is, or would be. The order is that of the daemon, but for rare characters. */
  #place(location) {
    let [low, high] = [0, this.#all.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#all[middle].location < location) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The entries that have this text in their name, in an order: folders first. */
  view({ text, by, isDown }) {
    const wanted = text.trim().toLowerCase();
    const found =
      wanted === "" ? this.#all : this.#all.filter((entry) => entry.lower.includes(wanted));
    const folders = found.filter((entry) => entry.isFolder);
    const blobs = found.filter((entry) => !entry.isFolder);
    if (by === "size") blobs.sort((a, b) => a.size - b.size);
    if (by === "time") blobs.sort((a, b) => (a.modified < b.modified ? -1 : +(a.modified > b.modified)));
    if (isDown) {
      blobs.reverse();
      if (by === "name") folders.reverse();
    }
    return folders.concat(blobs);
  }
}

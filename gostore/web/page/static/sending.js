/**
 * One file on its way to the daemon: by tus 1.0.0 (docs/uploads.md), or whole by POST and PUT.
 *
 * A large file goes by tus, so that it goes on where it stopped, after a pause, a reload or a crash
 * of the daemon. A small one takes one request anyway; and without /uploads/ every file
 * does. XMLHttpRequest sends the bytes, since fetch tells nothing of how far it has come.
 */

import { UPLOADS, Refused, Unreachable, door, head, headersFor, textOf, url } from "./daemon.js";

/** Up to here a file is sent whole. */
const SMALL = 1 << 20;

/** The most bytes of one PATCH: a proxy may collect the body of a request before it passes it on. */
const CHUNK = 64 << 20;

/** Up to here the digest of a file is computed, to see whether the daemon has it already. */
const DIGESTED = 64 << 20;

const TUS = { "Tus-Resumable": "1.0.0" };

/** What is said of a file besides its bytes; gostore's own client says the same. */
const mtimeOf = (file) => (file.lastModified / 1000).toFixed(9);
const typeOf = (file) => file.type || "application/octet-stream";

function base64(text) {
  let bytes = "";
  for (const byte of new TextEncoder().encode(text)) bytes += String.fromCharCode(byte);
  return btoa(bytes);
}

/** A request that tells how far its body has come. Fails with Refused, Unreachable or AbortError. */
function request(method, where, headers, body, { signal, told }) {
  return new Promise((resolve, reject) => {
    const asking = new XMLHttpRequest();
    const abort = () => asking.abort();
    const done = (settle, value) => {
      signal.removeEventListener("abort", abort);
      settle(value);
    };
    asking.open(method, where);
    for (const [name, value] of Object.entries(headersFor(headers))) {
      asking.setRequestHeader(name, value);
    }
    asking.upload.onprogress = (event) => told(event.loaded);
    asking.onload = () => {
      if (asking.status >= 200 && asking.status < 300) return done(resolve, asking);
      const text = textOf(asking.status, asking.responseText);
      const fields = { get: (name) => asking.getResponseHeader(name) };
      done(reject, new Refused(asking.status, text, fields));
    };
    asking.onerror = asking.ontimeout = () => done(reject, new Unreachable());
    asking.onabort = () => done(reject, new DOMException("Paused", "AbortError"));
    if (signal.aborted) return done(reject, new DOMException("Paused", "AbortError"));
    signal.addEventListener("abort", abort);
    asking.send(body);
  });
}

/** The entity tag of what a location has; null if that is nothing. */
async function etagAt(location) {
  try {
    return (await head(location)).headers.get("ETag");
  } catch (error) {
    if (error instanceof Refused && error.status === 404) return null;
    throw error;
  }
}

/** The entity tag that a file would have; null if nobody can tell. */
async function etagOf(file) {
  // Over plain HTTP a browser gives no digests.
  if (!globalThis.crypto?.subtle || file.size > DIGESTED) return null;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
  return `"${Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("")}"`;
}

export class Sending {
  /**
   * `replaces` is whether the blob that is there may be replaced. `memory` keeps what is known of
   * this file over a reload: the `url` of its upload, and the `etag` of the blob that it became.
   */
  constructor({ file, location, replaces, memory, signal, told }) {
    Object.assign(this, { file, location, replaces, memory, signal, told });
  }

  /** Send it, or what is missing. Resolves to the entity tag; fails with a 409 if a blob is there. */
  async run() {
    const known = this.memory.get();
    if (known.etag && (await etagAt(this.location)) === known.etag) return known.etag;
    try {
      const etag = await (UPLOADS !== null && this.file.size > SMALL ? this.#tus() : this.#whole());
      this.memory.set({ etag });
      return etag;
    } catch (error) {
      if (!(error instanceof Refused && error.status === 409)) throw error;
      // Perhaps it is there because the answer to an earlier attempt was lost.
      const there = await etagAt(this.location);
      if (there === null || there !== (await etagOf(this.file))) throw error;
      this.memory.set({ etag: there });
      return there;
    }
  }

  async #ask(method, where, headers, body, offset = 0) {
    const told = (loaded) => this.told(offset + loaded);
    for (;;) {
      try {
        return await request(method, where, headers, body, { signal: this.signal, told });
      } catch (error) {
        if (!(error instanceof Refused && error.status === 401 && (await door.signIn()))) throw error;
      }
    }
  }

  async #whole() {
    const { file } = this;
    const headers = { "Content-Type": typeOf(file), "X-Gostore-Meta-Mtime": mtimeOf(file) };
    if (this.replaces) headers["If-Match"] = "*";
    const method = this.replaces ? "PUT" : "POST";
    const answer = await this.#ask(method, url(this.location), headers, file);
    return answer.getResponseHeader("ETag");
  }

  async #tus() {
    let offset = 0;
    let where = this.memory.get().url ?? null;
    if (where !== null) {
      offset = await this.#offsetOf(where);
      if (offset === null) where = null;
    }
    if (where === null) {
      [where, offset] = [await this.#begin(), 0];
      this.memory.set({ url: where });
    }
    for (;;) {
      this.told(offset);
      // A last PATCH without a byte asks what an upload that is all there has become.
      const part = this.file.slice(offset, offset + CHUNK);
      const headers = { ...TUS, "Upload-Offset": String(offset), "Content-Type": "application/offset+octet-stream" };
      try {
        const answer = await this.#ask("PATCH", where, headers, part, offset);
        offset = Number(answer.getResponseHeader("Upload-Offset"));
        const etag = answer.getResponseHeader("ETag");
        if (etag !== null) return etag;
      } catch (error) {
        const right = error instanceof Refused ? error.headers.get("Upload-Offset") : null;
        if (error.status !== 409 || right === null) throw error;
        offset = Number(right);
      }
    }
  }

  async #begin() {
    const { file } = this;
    const metadata = {
      location: this.location,
      filetype: typeOf(file),
      "x-gostore-meta-mtime": mtimeOf(file),
      ...(this.replaces ? { "if-match": "*" } : {}),
    };
    const pairs = Object.entries(metadata).map(([name, value]) => `${name} ${base64(value)}`);
    const headers = { ...TUS, "Upload-Length": String(file.size), "Upload-Metadata": pairs.join(",") };
    const answer = await this.#ask("POST", UPLOADS, headers, null);
    return new URL(answer.getResponseHeader("Location"), UPLOADS).href;
  }

  /** How far an upload is; null if the daemon knows it no more. */
  async #offsetOf(where) {
    try {
      const answer = await this.#ask("HEAD", where, TUS, null);
      return Number(answer.getResponseHeader("Upload-Offset"));
    } catch (error) {
      if (error instanceof Refused && [403, 404, 410].includes(error.status)) return null;
      throw error;
    }
  }
}

/** Give up an upload, and the bytes of it that the daemon has. */
export async function forget(where) {
  const signal = new AbortController().signal;
  await request("DELETE", where, TUS, null, { signal, told: () => {} }).catch(() => {});
}

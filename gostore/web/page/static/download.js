/**
 * Download a blob to a file, and never show it: it has the origin of this page.
 *
 * Without credentials of its own the page lets the browser do it. With them only a script can ask,
 * since they are in no URL and in no cookie: the bytes go to a file that the user chooses, or,
 * where the browser has no such thing, through its memory.
 */

import { ask, credentials, url } from "./daemon.js";
import { complain, say } from "./messages.js";
import { el, lastPart, size as inWords } from "./text.js";

/** Up to here a download is kept in memory without a word. */
const LARGE = 512 << 20;

function click(href, name) {
  const link = el("a", { href, download: name, hidden: true });
  document.body.append(link);
  link.click();
  link.remove();
}

export async function download(location, size, query = "") {
  const name = lastPart(location);
  const where = url(location, query);
  if (credentials.get() === null) return click(where.href, name);
  try {
    if (globalThis.showSaveFilePicker && size > LARGE) {
      const file = await (await showSaveFilePicker({ suggestedName: name })).createWritable();
      await (await ask("GET", where)).body.pipeTo(file);
      return say(`Downloaded ${name}`);
    }
    if (size > LARGE) say(`${inWords(size)} go through the memory of this browser; curl does better`);
    const data = await (await ask("GET", where)).arrayBuffer();
    // Of no type that a browser shows: at its URL it has the origin of this page.
    const blob = new Blob([data], { type: "application/octet-stream" });
    const href = URL.createObjectURL(blob);
    click(href, name);
    setTimeout(() => URL.revokeObjectURL(href), 60_000);
  } catch (error) {
    if (error.name !== "AbortError") complain(error);
  }
}

/** All about one blob: what it is, how to fetch it, and what was there before. */

import { HAS_HISTORY, Refused, credentials, head, history, restore, url } from "./daemon.js";
import { download } from "./download.js";
import { complain, say } from "./messages.js";
import { button, duration, el, icon, lastPart, quoted, shown, size, time } from "./text.js";

const dialog = document.getElementById("details");
const META = "x-gostore-meta-";
const ENDED = { replaced: "Replaced", deleted: "Deleted", expired: "Expired" };

/** A line that fetches a blob, for a shell. The secret is not in it. */
export function curlLine(location, query = "") {
  const name = quoted(`./${lastPart(location)}`);
  const token = credentials.get()?.startsWith("Bearer ") ? ' --oauth2-bearer "$GOSTORE_TOKEN"' : "";
  const user = credentials.get()?.startsWith("Basic ") ? " --user NAME" : "";
  return `curl --fail${token}${user} --output ${name} ${quoted(url(location, query).href)}`;
}

async function copy(text, code) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Over plain HTTP there is no clipboard. The text is selected, so a key copies it.
    const range = document.createRange();
    range.selectNodeContents(code);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    if (!document.execCommand("copy")) return say("It is selected: copy it with the keyboard");
  }
  say("Copied");
}

function copied(text, label) {
  const code = el("code", { tabindex: "0" }, text);
  const copying = el("button", { type: "button", class: "act", "aria-label": label, title: label }, icon("copy"));
  copying.addEventListener("click", () => copy(text, code));
  return el("div", { class: "copied" }, code, copying);
}

const fact = (name, ...value) => [el("dt", {}, name), el("dd", {}, ...value)];

function facts(told, headers) {
  const found = [...fact("Location", shown(told.location)), ...fact("Size", told.size === null ? "unknown" : `${size(told.size)} (${told.size.toLocaleString("en")} bytes)`)];
  found.push(...fact("Type", told.type ?? "unknown"));
  if (told.modified) found.push(...fact("Modified", time(told.modified)));
  if (told.expires) found.push(...fact("Expires", time(told.expires)));
  if (told.etag) found.push(...fact("SHA-256", copied(told.etag.replaceAll('"', ""), "Copy the digest")));
  const kept = ["Cache-Control", "Content-Encoding", "Content-Language"];
  for (const name of kept) {
    const value = headers?.get(name);
    // That is what is said of a blob that says nothing itself.
    if (value && value !== "no-cache") found.push(...fact(name, shown(value)));
  }
  for (const [name, value] of headers ?? []) {
    if (!name.startsWith(META)) continue;
    const isTime = name === `${META}mtime` && Number.isFinite(Number(value));
    const text = isTime ? time(new Date(1000 * Number(value)).toISOString()) : shown(value);
    found.push(...fact(isTime ? "Changed, as a file" : name.slice(META.length), text));
  }
  return el("dl", {}, ...found);
}

export class Details {
  #changed;
  #remove;
  #location = null;

  /** `changed` is called with a location that has another blob now, `remove` deletes an entry. */
  constructor({ changed, remove }) {
    this.#changed = changed;
    this.#remove = remove;
    // A click beside the sheet closes it.
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    dialog.addEventListener("close", () => (this.#location = null));
  }

  /** Show an entry of the list; the rest of what is known comes a moment later. */
  async open(entry) {
    this.#location = entry.location;
    const close = el("button", { type: "button", class: "act", "aria-label": "Close", onclick: () => dialog.close() }, icon("close"));
    const name = el("h2", { id: "details-name", tabindex: "-1" }, shown(entry.location));
    this.buttons = el("div", { class: "buttons" });
    this.facts = el("div", {});
    this.fetch = el("section", { "aria-label": "Fetch it" });
    this.past = el("section", { class: "past", "aria-labelledby": "past-title" });
    const body = el("div", { class: "body" }, this.buttons, this.facts, this.fetch, this.past);
    dialog.replaceChildren(el("div", { class: "head" }, name, close), body);
    if (!dialog.open) dialog.showModal();
    name.focus();
    const isDeleted = entry.version !== null;
    if (!isDeleted) this.#show(entry, null);
    await Promise.all([isDeleted ? null : this.#look(entry), this.#remember(entry.location)]);
  }

  async #look(entry) {
    try {
      const { headers } = await head(entry.location);
      if (this.#location !== entry.location) return;
      const told = {
        size: Number(headers.get("Content-Length") ?? entry.size),
        type: headers.get("Content-Type"),
        etag: headers.get("ETag"),
        modified: new Date(headers.get("Last-Modified")).toISOString(),
        expires: headers.get("Expires-At") && new Date(headers.get("Expires-At")).toISOString(),
      };
      this.#show({ ...entry, ...told }, headers);
    } catch (error) {
      if (this.#location !== entry.location) return;
      const text = error instanceof Refused && error.status === 500 ? `${error.message}. Replace or delete it.` : error.message;
      this.facts.prepend(el("p", { class: "bad" }, text));
    }
  }

  #show(entry, headers) {
    this.buttons.replaceChildren(
      button("Download", "down", () => download(entry.location, entry.size), { class: "main" }),
      button("Delete", "bin", async () => (await this.#remove(entry)) && dialog.close()),
    );
    this.facts.replaceChildren(facts(entry, headers));
    this.fetch.replaceChildren(el("h3", {}, "With curl"), copied(curlLine(entry.location), "Copy the command"));
  }

  async #remember(location, before = null) {
    if (!HAS_HISTORY) return;
    try {
      const { versions, isAll } = await history(location, before);
      if (this.#location !== location) return;
      if (before === null) {
        this.list = el("ol", { class: "timeline" });
        this.past.replaceChildren(el("h3", { id: "past-title" }, "History"), this.list);
        this.current = versions.find((each) => each.state === "OK") ?? null;
      }
      this.list.append(...versions.map((each) => this.#version(each)));
      this.more?.remove();
      if (!isAll) {
        const older = () => this.#remember(location, versions.at(-1).version);
        this.more = el("button", { type: "button", onclick: older }, "Older versions");
        this.past.append(this.more);
      }
    } catch (error) {
      if (this.#location === location && !(error instanceof Refused && error.status === 404)) complain(error);
    }
  }

  #version(told) {
    const isCurrent = told.state === "OK";
    const by = (who) => (who?.principal ? [" by ", shown(who.principal)] : []);
    const head = isCurrent
      ? el("b", {}, "Now")
      : el("b", {}, `${ENDED[told.ended_by] ?? "Ended"} `, time(told.ended.time), ...by(told.ended));
    const created = el("span", { class: "note" }, "Stored ", time(told.created.time), ...by(told.created), `, ${size(told.size)}`);
    const line = el("li", { class: isCurrent ? "now" : told.ended_by }, head, created);
    if (isCurrent) return line;
    if (told.until && told.until !== "forever") {
      const left = (new Date(told.until) - Date.now()) / 1000;
      line.append(el("span", { class: "note" }, `Kept for ${duration(Math.max(left, 0))} more`));
    }
    const of = `the version of ${told.created.time}`;
    line.append(
      el("div", { class: "buttons" },
        button("Restore", "back", () => this.#restore(told), { "aria-label": `Restore ${of}` }),
        button("Download", "down", () => download(told.location, told.size, `?version=${told.version}`), { "aria-label": `Download ${of}` })),
    );
    return line;
  }

  async #restore(told) {
    try {
      const etag = await restore(told.location, told.version, this.current?.etag ?? null);
      const entry = { location: told.location, size: told.size, etag, content_type: told.content_type, modified: new Date().toISOString() };
      this.#changed(entry);
      say(["Restored ", shown(told.location)]);
      if (this.#location !== told.location) return;
      await this.open({ ...entry, type: told.content_type, version: null });
    } catch (error) {
      const isOther = error instanceof Refused && error.status === 412;
      complain(isOther ? new Error("It was changed meanwhile. Look again before you restore.") : error);
    }
  }
}

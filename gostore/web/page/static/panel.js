/** The uploads, as the user sees them: how far they are, and what there is to decide. */

import { UPLOADS } from "./daemon.js";
import { button, count, duration, el, icon, oncePerFrame, shown, size } from "./text.js";
import { forgetRemembered, remembered } from "./uploads.js";

/** Rows of the panel; the others are only counted. */
const MOST = 100;

const STATES = { waiting: "Waits", sending: "", done: "Stored", skipped: "Left out" };
const ORDER = ["there", "failed", "sending", "waiting", "done", "skipped"];

export class Panel {
  #uploads;
  #root = document.getElementById("uploads");
  #rate = 0;
  #measured = null;
  #said = "";
  #isOpen = true;

  constructor(uploads) {
    this.#uploads = uploads;
    this.draw = oncePerFrame(() => this.#draw());
    this.title = el("h2", { id: "uploads-title" }, "Uploads");
    this.bar = el("progress", { max: "1", value: "0", "aria-labelledby": "uploads-title" });
    this.line = el("p", { class: "line" });
    this.status = el("p", { class: "unseen", role: "status" });
    this.list = el("ul", { class: "files", tabindex: "0", "aria-label": "Files" });
    this.pausing = button("Pause", "pause", () => this.#pauseOrGoOn());
    this.clearing = button("Clear", "close", () => uploads.clear());
    this.all = el("div", { class: "buttons" });
    const head = el("div", { class: "head" }, this.title, this.pausing, this.clearing);
    const warning = "This daemon cannot go on with an upload that is cut off: a pause begins its file anew.";
    const note = UPLOADS === null ? el("p", { class: "line" }, warning) : null;
    this.#root.append(...[head, this.bar, this.line, note, this.status, this.all, this.list].filter(Boolean));
    setInterval(() => uploads.waitsUntil !== null && this.draw(), 1000);
  }

  #pauseOrGoOn() {
    if (this.#uploads.isPaused) this.#uploads.resume();
    else this.#uploads.pause();
  }

  #draw() {
    const { items } = this.#uploads;
    this.#root.hidden = items.length === 0;
    document.body.classList.toggle("uploading", items.length > 0);
    if (items.length === 0) return;
    const counts = Object.fromEntries(ORDER.map((state) => [state, 0]));
    let [sent, total] = [0, 0];
    for (const item of items) {
      counts[item.state]++;
      if (item.state === "skipped") continue;
      sent += item.sent;
      total += item.file.size;
    }
    const isBusy = counts.waiting + counts.sending > 0;
    this.bar.max = Math.max(total, 1);
    this.bar.value = isBusy || total > 0 ? sent : 1;
    this.pausing.hidden = !isBusy;
    this.clearing.hidden = isBusy;
    const word = this.#uploads.isPaused ? "Go on" : "Pause";
    if (this.pausing.textContent !== word) {
      this.pausing.replaceChildren(icon(this.#uploads.isPaused ? "go" : "pause"), el("span", {}, word));
    }
    this.line.textContent = this.#lineOf(counts, sent, total, isBusy);
    this.#say(counts, isBusy);
    this.#drawChoices(counts);
    this.#drawFiles();
  }

  #lineOf(counts, sent, total, isBusy) {
    const of = `${counts.done.toLocaleString("en")} of ${count(this.#uploads.items.length, "file")}`;
    const bytes = `${size(sent)} of ${size(total)}`;
    if (!isBusy) return `${of}, ${size(sent)}`;
    if (this.#uploads.isPaused) return `Paused: ${of}, ${bytes}`;
    if (this.#uploads.waitsUntil !== null) {
      const seconds = Math.max(1, Math.ceil((this.#uploads.waitsUntil - Date.now()) / 1000));
      return `${this.#uploads.trouble}. Trying again in ${seconds} s. ${of}`;
    }
    this.#measure(sent);
    const left = this.#rate > 0 ? `, ${duration((total - sent) / this.#rate)} left` : "";
    return `${of}, ${bytes}${this.#rate > 0 ? `, ${size(this.#rate)}/s` : ""}${left}`;
  }

  /** Bytes a second, smoothed over some seconds. */
  #measure(sent) {
    const now = performance.now();
    if (this.#measured === null || sent < this.#measured.sent) this.#measured = { now, sent };
    const seconds = (now - this.#measured.now) / 1000;
    if (seconds < 0.5) return;
    const rate = (sent - this.#measured.sent) / seconds;
    this.#rate = this.#rate === 0 ? rate : 0.8 * this.#rate + 0.2 * rate;
    this.#measured = { now, sent };
  }

  /** To who does not see it: the begin, the end, and what is in between, but not each byte. */
  #say(counts, isBusy) {
    let text = `${count(this.#uploads.items.length, "file")} on the way`;
    if (this.#uploads.isPaused) text = "Uploads are paused";
    else if (this.#uploads.waitsUntil !== null) text = this.#uploads.trouble;
    else if (!isBusy) {
      text = `${count(counts.done, "file")} stored`;
      if (counts.failed) text += `, ${counts.failed} failed`;
      if (counts.there) text += `, ${counts.there} are there already`;
    }
    if (text !== this.#said) this.status.textContent = this.#said = text;
  }

  #drawChoices(counts) {
    const wanted = counts.there > 1 ? `${counts.there} files are there already.` : "";
    if (this.all.dataset.for === wanted) return;
    this.all.dataset.for = wanted;
    const each = (word) => () => {
      for (const item of this.#uploads.items) if (item.state === "there") this.#uploads.decide(item, word);
    };
    const choices = [
      el("span", {}, wanted),
      el("button", { type: "button", onclick: each("skip") }, "Leave all out"),
      el("button", { type: "button", onclick: each("replace") }, "Replace all"),
    ];
    this.all.replaceChildren(...(wanted ? choices : []));
  }

  #drawFiles() {
    const items = [...this.#uploads.items];
    items.sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state));
    const rows = items.slice(0, MOST).map((item) => this.#row(item));
    const more = items.length - MOST;
    if (more > 0) rows.push((this.more ??= el("li", { class: "more" })));
    if (more > 0) this.more.textContent = `and ${count(more, "more file", "more files")}`;
    const isSame = rows.length === this.list.children.length && rows.every((row, at) => this.list.children[at] === row);
    if (!isSame) this.list.replaceChildren(...rows);
  }

  /** The row of a file. It is made anew only when its state changes. */
  #row(item) {
    if (item.row?.dataset.state !== item.state) {
      const name = el("span", { class: "label", title: item.location }, shown(item.location));
      item.note = el("span", { class: "note" }, item.reason || STATES[item.state] || "");
      const choices = [];
      const choice = (label, word) =>
        el("button", { type: "button", "aria-label": `${label}: ${item.location}`, onclick: () => this.#uploads.decide(item, word) }, label);
      if (item.state === "there") choices.push(choice("Leave out", "skip"), choice("Replace", "replace"));
      if (item.state === "failed") choices.push(choice("Leave out", "skip"), choice("Try again", "again"));
      const mark = { done: "done", there: "alert", failed: "alert" }[item.state] ?? "file";
      item.row = el("li", { class: item.state, "data-state": item.state }, icon(mark), name, item.note, ...choices);
    }
    if (item.state === "sending" && item.file.size > 0) {
      item.note.textContent = `${Math.floor((100 * item.sent) / item.file.size)} %`;
    }
    return item.row;
  }
}

/** Say what an earlier page has left unfinished. `choose` opens the picker. */
export function remind(choose) {
  const notice = document.getElementById("notice");
  const found = remembered();
  const open = found.filter((each) => !each.isDone);
  notice.hidden = open.length === 0;
  if (open.length === 0) return;
  const text = `${count(open.length, "upload is", "uploads are")} not finished. Give the same `
    + "files or the same folder again, by dropping or choosing them";
  const rest = UPLOADS === null ? ": they begin anew." : ": each goes on where it stopped.";
  const forgetting = async () => {
    notice.hidden = true;
    await forgetRemembered();
  };
  notice.replaceChildren(
    icon("up"),
    el("p", {}, text + rest),
    el("div", { class: "buttons" },
      el("button", { type: "button", onclick: () => choose("files") }, "Choose files"),
      el("button", { type: "button", onclick: () => choose("folder") }, "Choose a folder"),
      el("button", { type: "button", onclick: forgetting }, "Forget them")),
  );
}

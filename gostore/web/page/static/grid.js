/**
 * The rows of a long list: only those that can be seen are elements.
 *
 * The table keeps its height by two empty bodies, above and below the rows. All rows are equally
 * high. It is a grid to assistive technology: the arrow keys move, and one row is a stop of Tab.
 */

import { el, icon, oncePerFrame, shown, size, time } from "./text.js";

/** Rows beyond the edges, so that a quick scroll does not show a gap. */
const MORE = 12;

const space = () => {
  const cell = el("td", { colspan: "4" });
  return { cell, body: el("tbody", { class: "space", "aria-hidden": "true" }, el("tr", {}, cell)) };
};

export class Grid {
  #table;
  #body;
  #above = space();
  #below = space();
  #rows = [];
  #first = 0;
  #last = 0;
  #current = 0;
  #height = 0;
  #href;
  #act;

  /** `href` gives the link of an entry; `act` is called with a word for what the user wants. */
  constructor(table, { href, act }) {
    this.#table = table;
    this.#body = table.tBodies[0];
    this.#href = href;
    this.#act = act;
    this.actions = () => [];
    // Said outright, since the style of a phone makes them anything but a table.
    table.setAttribute("role", "grid");
    for (const part of [table.tHead, this.#body]) part.setAttribute("role", "rowgroup");
    table.tHead.rows[0].setAttribute("role", "row");
    for (const head of table.tHead.rows[0].cells) head.setAttribute("role", "columnheader");
    const draw = oncePerFrame(() => this.#draw(false));
    addEventListener("scroll", draw, { passive: true });
    addEventListener("resize", oncePerFrame(() => this.#measure()));
    this.#body.addEventListener("click", (event) => this.#clicked(event));
    this.#body.addEventListener("focusin", (event) => this.#focused(event));
    table.addEventListener("keydown", (event) => this.#pressed(event));
  }

  get rows() {
    return this.#rows;
  }

  /** Show these entries. The current row stays, if it is still there. */
  show(rows, isOther) {
    const before = this.#rows[this.#current]?.location;
    const hadFocus = this.#body.contains(document.activeElement);
    this.#rows = rows;
    const at = isOther ? 0 : rows.findIndex((entry) => entry.location === before);
    this.#current = at >= 0 ? at : Math.min(this.#current, Math.max(rows.length - 1, 0));
    this.#table.setAttribute("aria-rowcount", String(rows.length + 1));
    if (this.#height === 0) {
      this.#body.before(this.#above.body);
      this.#body.after(this.#below.body);
    }
    this.#draw(true);
    if (this.#height === 0 && rows.length > 0) this.#measure();
    if (hadFocus) this.focus();
  }

  /** Put the focus on the current row, wherever it is. */
  focus() {
    if (this.#rows.length === 0) return;
    const top = this.#body.getBoundingClientRect().top - this.#first * this.#height;
    const [from, to] = [top + this.#current * this.#height, top + (this.#current + 1) * this.#height];
    const header = this.#table.tHead.getBoundingClientRect();
    const upper = Math.max(header.bottom, 0);
    if (from < upper) scrollBy(0, from - upper);
    else if (to > innerHeight - this.#height) scrollBy(0, to - innerHeight + this.#height);
    this.#draw(false);
    this.#row(this.#current)?.querySelector("a, button")?.focus({ preventScroll: true });
  }

  /** Look how high a row is. The rows of a phone are higher. */
  #measure() {
    const row = this.#body.rows[0];
    if (row === undefined) return;
    this.#height = row.getBoundingClientRect().height;
    this.#draw(true);
  }

  #row(at) {
    return at >= this.#first && at < this.#last ? this.#body.rows[at - this.#first] : undefined;
  }

  #draw(isNew) {
    const count = this.#rows.length;
    const height = this.#height || 48;
    const top = this.#above.body.getBoundingClientRect().top;
    const first = Math.min(Math.max(Math.floor(-top / height) - MORE, 0), Math.max(count - 1, 0));
    const last = Math.min(Math.ceil((innerHeight - top) / height) + MORE, count);
    if (!isNew && first === this.#first && last === this.#last) return;
    const active = document.activeElement;
    const hadFocus = this.#body.contains(active);
    const kept = new Map();
    const old = isNew ? [...this.#body.rows] : [];
    for (let at = this.#first; !isNew && at < this.#last; at++) {
      if (at < first || at >= last) old.push(this.#row(at));
      else kept.set(at, this.#row(at));
    }
    for (const row of old) row.remove();
    const rows = [];
    for (let at = first; at < last; at++) rows.push(kept.get(at) ?? this.#make(at));
    [this.#first, this.#last] = [first, Math.max(first, last)];
    // Those that stay are not touched, so that they keep the focus and what is selected in them.
    rows.forEach((row, at) => {
      if (this.#body.rows[at] !== row) this.#body.insertBefore(row, this.#body.rows[at] ?? null);
    });
    this.#above.cell.style.height = `${first * height}px`;
    this.#below.cell.style.height = `${(count - this.#last) * height}px`;
    this.#mark();
    if (hadFocus && !isNew && !this.#body.contains(active)) {
      // Its row has gone out of sight. The next key brings it back.
      this.#table.tabIndex = -1;
      this.#table.focus({ preventScroll: true });
    }
  }

  /** A row as page/document.py makes it, too. */
  #make(at) {
    const entry = this.#rows[at];
    const kind = entry.isFolder ? "folder" : "file";
    const tags = [];
    if (entry.isDamaged) tags.push(el("span", { class: "tag bad" }, "damaged"));
    if (entry.expires !== null) tags.push(el("span", { class: "tag" }, "until ", time(entry.expires)));
    const label = el("span", { class: "label" }, shown(entry.name), ...tags);
    const actions = this.actions(entry).map(([word, name, title]) =>
      el(
        "button",
        { type: "button", class: "act", "data-act": word, "aria-label": `${title} ${entry.name}`, title },
        icon(name),
      ),
    );
    return el(
      "tr",
      { class: kind, role: "row", "aria-rowindex": String(at + 2) },
      el("td", { class: "name", role: "gridcell" }, el("a", { href: this.#href(entry), title: entry.name }, icon(kind), label)),
      el("td", { class: "size", role: "gridcell" }, entry.size >= 0 ? size(entry.size) : ""),
      el("td", { class: "time", role: "gridcell" }, entry.modified === null ? "" : time(entry.modified)),
      el("td", { class: "acts", role: "gridcell" }, ...actions),
    );
  }

  /** One row can be reached by Tab. */
  #mark() {
    for (let at = this.#first; at < this.#last; at++) {
      const row = this.#row(at);
      const isCurrent = at === this.#current;
      row.classList.toggle("current", isCurrent);
      for (const each of row.querySelectorAll("a, button")) each.tabIndex = isCurrent ? 0 : -1;
    }
    if (this.#row(this.#current) === undefined && this.#last > this.#first) {
      this.#row(this.#first).querySelector("a, button").tabIndex = 0;
    }
  }

  #entryOf(element) {
    const row = element.closest("tr");
    return row === null ? undefined : this.#rows[this.#first + row.sectionRowIndex];
  }

  #focused(event) {
    const row = event.target.closest("tr");
    if (row === null) return;
    this.#current = this.#first + row.sectionRowIndex;
    this.#mark();
  }

  #clicked(event) {
    const control = event.target.closest("a, button");
    const entry = this.#entryOf(event.target);
    if (entry === undefined || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (control === null && !event.target.closest("td.acts, tr")) return;
    event.preventDefault();
    this.#act(control?.dataset.act ?? "open", entry);
  }

  #pressed(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest("thead")) return;
    const page = Math.max(Math.floor(innerHeight / (this.#height || 48)) - 3, 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page };
    const last = this.#rows.length - 1;
    const entry = this.#rows[this.#current];
    if (event.key in steps) this.#current += steps[event.key];
    else if (event.key === "Home") this.#current = 0;
    else if (event.key === "End") this.#current = last;
    else if (event.key === "ArrowRight" || event.key === "ArrowLeft") return this.#sideways(event);
    else if (event.key === "Delete" && entry) return this.#act("delete", entry);
    else if (event.key === "Backspace") return this.#act("up", null);
    else if (event.key === "/") {
      event.preventDefault();
      return this.#act("search", null);
    } else return;
    event.preventDefault();
    this.#current = Math.min(Math.max(this.#current, 0), last);
    this.focus();
  }

  #sideways(event) {
    const row = event.target.closest("tr");
    if (row === null) return;
    const all = [...row.querySelectorAll("a, button")];
    const isBack = (event.key === "ArrowLeft") === (getComputedStyle(row).direction === "ltr");
    const at = all.indexOf(event.target) + (isBack ? -1 : 1);
    event.preventDefault();
    all[Math.min(Math.max(at, 0), all.length - 1)]?.focus();
  }
}

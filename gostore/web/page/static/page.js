/**
 * The page: a list of blobs, and what one can do with them. Start here.
 *
 * The rows that came with the document can be read without any of this. Then the list is asked for
 * as JSON, and what is shown is kept in step with the address, so that Back and a reload work.
 *
 *   entries.js   what is in the list        grid.js     its rows
 *   uploads.js   files on their way         panel.js    how they are shown    sending.js  one of them
 *   details.js   one blob and its past      usage.js    the bars              signin.js   who asks
 *   daemon.js    the requests               text.js     elements, words
 */

import { HAS_HISTORY, Refused, STORE, UPLOADS, credentials, history as pastOf, keptFor, remove, restore, url } from "./daemon.js";
import { Details } from "./details.js";
import { download } from "./download.js";
import { Entries, MOST } from "./entries.js";
import { Grid } from "./grid.js";
import { ask, complain, say } from "./messages.js";
import { Panel, remind } from "./panel.js";
import { chosen, dropped, pasted } from "./picking.js";
import { openDoor, signIn, signOut } from "./signin.js";
import { count, el, encode, oncePerFrame, shown, size } from "./text.js";
import { Uploads } from "./uploads.js";
import { showUsage } from "./usage.js";

const at = (id) => document.getElementById(id);
const facts = document.body.dataset;

/** What is shown: the part of it that is in the address, and the order. */
const shownNow = { prefix: facts.prefix, isFlat: false, isDeleted: false, text: "", by: "name", isDown: false };
let isOther = true;

const entries = new Entries(oncePerFrame(draw));
const grid = new Grid(at("list"), { href: hrefOf, act });
const details = new Details({ changed: (told) => (shownNow.isDeleted ? entries.drop(told.location) : entries.put(told)), remove: removeEntry });
const uploads = new Uploads({ changed: () => panel.draw(), stored });
const panel = new Panel(uploads);

grid.actions = (entry) => {
  if (entry.isFolder) return [];
  if (entry.version !== null) return [["restore", "back", "Restore"]];
  return [["open", "info", "Details of"], ["download", "down", "Download"], ["delete", "bin", "Delete"]];
};

// -- where we are -----------------------------------------------------------------------------

/** The address of a prefix: a path if it is a folder, so that it works without scripts, too. */
function addressOf(prefix) {
  if (prefix === "" || prefix.endsWith("/")) return new URL(encode(prefix), STORE).href;
  return new URL(`?prefix=${encodeURIComponent(prefix)}`, STORE).href;
}

function hrefOf(entry) {
  if (entry.isFolder) return addressOf(entry.location);
  return url(entry.location, entry.version === null ? "" : `?version=${entry.version}`).href;
}

function go(prefix, { isBack = false } = {}) {
  Object.assign(shownNow, { prefix, text: "" });
  at("search").value = "";
  if (!isBack) history.pushState({ prefix }, "", addressOf(prefix));
  isOther = true;
  scrollTo(0, 0);
  drawCrumbs();
  load();
}

function load() {
  at("frame").setAttribute("aria-busy", "true");
  return entries.load(shownNow);
}

function drawCrumbs() {
  const { prefix } = shownNow;
  const items = [["store", ""]];
  const folders = prefix.split("/");
  const rest = folders.pop();
  folders.forEach((folder, depth) => items.push([folder, `${folders.slice(0, depth + 1).join("/")}/`]));
  const made = items.map(([name, place]) => {
    const current = place === prefix ? { "aria-current": "page" } : {};
    const text = place === "" ? name : shown(name);
    return el("li", {}, el("a", { href: addressOf(place), "data-prefix": place, ...current }, text));
  });
  if (rest !== "") made.push(el("li", { "aria-current": "page" }, shown(rest), "…"));
  at("crumbs").replaceChildren(...made);
  document.title = prefix === "" ? "gostore" : `${prefix} · gostore`;
  document.querySelector("h1").replaceChildren(...(prefix === "" ? ["Blobs"] : ["Blobs in ", shown(prefix)]));
}

// -- what is shown ----------------------------------------------------------------------------

function draw() {
  const rows = entries.view(shownNow).slice(0, MOST);
  at("more")?.remove();
  // A row can be measured only where it is shown.
  at("frame").hidden = rows.length === 0;
  grid.show(rows, isOther);
  isOther = false;
  at("empty").hidden = rows.length > 0 || entries.isLoading;
  if (!entries.isLoading) at("frame").removeAttribute("aria-busy");
  at("empty-text").textContent = emptyText();
  at("count").textContent = countText(rows);
  for (const head of at("list").tHead.rows[0].cells) {
    const isBy = head.dataset.by === shownNow.by;
    if (head.dataset.by) head.setAttribute("aria-sort", isBy ? (shownNow.isDown ? "descending" : "ascending") : "none");
  }
}

function emptyText() {
  const { error } = entries;
  if (error instanceof Refused && error.status === 401) return "Sign in to see what is here.";
  if (error !== null) return error.message;
  if (shownNow.text !== "") return `Nothing here has “${shownNow.text}” in its name.`;
  if (shownNow.isDeleted) return "Nothing here can be restored.";
  return "Nothing is here yet. Drop files or a folder anywhere on this page.";
}

function countText(rows) {
  if (rows.length === 0) return entries.isLoading ? "Loading…" : "";
  const folders = rows.filter((entry) => entry.isFolder).length;
  const blobs = rows.length - folders;
  const bytes = rows.reduce((sum, entry) => sum + Math.max(entry.size, 0), 0);
  const parts = [];
  if (folders) parts.push(count(folders, "folder"));
  if (blobs) parts.push(`${count(blobs, "blob")}, ${size(bytes)}`);
  if (entries.isLoading) parts.push("loading more…");
  else if (entries.error) parts.push(`the rest did not come: ${entries.error.message}`);
  else if (!entries.isWhole) parts.push(`there are more than ${count(MOST, "row")}: look in a folder`);
  return parts.join(", ");
}

// -- what a user does -------------------------------------------------------------------------

function act(word, entry) {
  if (word === "search") return at("search").focus();
  if (word === "up") return shownNow.prefix === "" ? null : go(shownNow.prefix.replace(/[^/]*\/?$/, ""));
  if (word === "open") return entry.isFolder ? go(entry.location) : details.open(entry);
  if (word === "download") return download(entry.location, entry.size);
  if (word === "restore") return bringBack(entry.location, entry.version);
  if (word === "delete" && !entry.isFolder && entry.version === null) return removeEntry(entry);
}

/** Delete a blob: with a history at once, since there is Undo; without one after a question. */
async function removeEntry(entry) {
  const isKept = keptFor(entry.location) !== 0;
  if (!isKept) {
    const text = "This daemon keeps no history of it, so nothing brings it back.";
    const buttons = [["Keep it", ""], ["Delete for good", "yes", "bad"]];
    if ((await ask(["Delete ", shown(entry.location), "?"], text, buttons)) !== "yes") return false;
  }
  try {
    await remove(entry.location, entry.etag);
  } catch (error) {
    const isChanged = error instanceof Refused && error.status === 412;
    complain(isChanged ? new Error("It was changed meanwhile, so it was not deleted") : error);
    return false;
  }
  entries.drop(entry.location);
  const action = isKept ? ["Undo", () => bringBack(entry.location, null)] : null;
  say(["Deleted ", shown(entry.name)], { action });
  refreshUsage();
  return true;
}

async function bringBack(location, version) {
  try {
    const { versions } = await pastOf(location);
    const told = version === null ? versions[0] : versions.find((each) => each.version === version);
    if (told === undefined || told.state === "OK") throw new Error("There is a blob again");
    const etag = await restore(location, told.version, null);
    const { size: bytes, content_type } = told;
    if (shownNow.isDeleted) entries.drop(location);
    entries.put({ location, size: bytes, content_type, etag, modified: new Date().toISOString() });
    say([shown(location), " is back"]);
    refreshUsage();
  } catch (error) {
    complain(error instanceof Refused && error.status === 412 ? new Error("There is a blob again") : error);
  }
}

function stored(told) {
  entries.put(told);
  if (!uploads.isBusy) refreshUsage();
}

function take(found) {
  if (found.length === 0) return;
  if (shownNow.isDeleted) at("deleted").click();
  at("notice").hidden = true;
  uploads.add(found.map(({ name, file }) => ({ file, location: shownNow.prefix + name })));
}

// -- who we are, and how much there is --------------------------------------------------------

async function refreshUsage() {
  try {
    const principal = await showUsage();
    at("account").hidden = principal === null && credentials.get() === null && !("signedOut" in facts);
    at("who").replaceChildren(...(principal === null || principal === "anonymous" ? [] : [shown(principal)]));
    at("sign").lastElementChild.textContent = credentials.get() === null ? "Sign in" : "Sign out";
  } catch {
    // The list says it, if nobody answers.
  }
}

function startAnew() {
  isOther = true;
  load();
  refreshUsage();
}

// -- the parts of the page --------------------------------------------------------------------

function listen() {
  at("crumbs").addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (link === null || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go(link.dataset.prefix ?? "");
  });
  addEventListener("popstate", (event) => go(event.state?.prefix ?? facts.prefix, { isBack: true }));
  at("search").addEventListener("input", oncePerFrame(() => {
    shownNow.text = at("search").value;
    isOther = true;
    draw();
  }));
  at("search").addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "Enter") {
      event.preventDefault();
      grid.focus();
    }
  });
  for (const [id, name] of [["flat", "isFlat"], ["deleted", "isDeleted"]]) {
    at(id).checked = false;
    at(id).addEventListener("change", () => {
      shownNow[name] = at(id).checked;
      isOther = true;
      load();
    });
  }
  for (const head of at("list").tHead.querySelectorAll("[data-by]")) {
    const { by } = head.dataset;
    const sorting = () => {
      // A first click on size or time shows the largest or the newest.
      shownNow.isDown = shownNow.by === by ? !shownNow.isDown : by !== "name";
      shownNow.by = by;
      draw();
    };
    head.replaceChildren(el("button", { type: "button", onclick: sorting }, head.textContent));
  }
  at("sign").addEventListener("click", async () => {
    if (credentials.get() !== null) signOut();
    else await signIn();
  });
}

function listenForFiles() {
  const choose = (id) => at(id).click();
  at("add-files").addEventListener("click", () => choose("files"));
  at("add-folder").addEventListener("click", () => choose("folder"));
  for (const id of ["files", "folder"]) at(id).addEventListener("change", () => take(chosen(at(id))));
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  const show = (isOver) => {
    document.body.classList.toggle("dropping", isOver);
    at("drop-to").replaceChildren(shownNow.prefix === "" ? "store" : shown(shownNow.prefix));
  };
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    show(true);
  });
  addEventListener("dragleave", (event) => event.relatedTarget === null && show(false));
  addEventListener("drop", async (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    show(false);
    take(await dropped(event.dataTransfer).catch((error) => { complain(error); return []; }));
  });
  addEventListener("paste", (event) => {
    if (event.target.closest?.("input") || !event.clipboardData.files.length) return;
    event.preventDefault();
    take(pasted(event.clipboardData));
  });
  // With tus nothing is lost by leaving; else it is.
  addEventListener("beforeunload", (event) => UPLOADS === null && uploads.isBusy && event.preventDefault());
  remind(choose);
}

// A browser looks for the icon again from each address that the page gives itself.
const icon = document.querySelector("link[rel=icon]");
icon.setAttribute("href", icon.href);
openDoor(startAnew);
listen();
listenForFiles();
at("tools").hidden = false;
at("deleted-label").hidden = !HAS_HISTORY;
history.replaceState({ prefix: facts.prefix }, "");
drawCrumbs();
load();
refreshUsage();

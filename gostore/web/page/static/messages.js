/** Messages that go by themselves, perhaps with something to undo, and questions that wait. */

import { el, icon } from "./text.js";

const toasts = document.getElementById("toasts");
const dialog = document.getElementById("ask");

const SECONDS = 8;
const SECONDS_TO_UNDO = 20;

/** Say something. With an action it stays longer, and as long as somebody is at it. */
export function say(parts, { action, isBad = false } = {}) {
  const toast = el("div", { class: isBad ? "toast bad" : "toast" }, el("p", {}, ...[parts].flat()));
  let timer = null;
  const leave = () => {
    clearTimeout(timer);
    toast.remove();
  };
  const wait = () => {
    timer = setTimeout(leave, 1000 * (action ? SECONDS_TO_UNDO : SECONDS));
  };
  if (action) {
    const [label, run] = action;
    const onclick = () => {
      leave();
      run();
    };
    toast.append(el("button", { type: "button", onclick }, label));
  }
  toast.append(el("button", { type: "button", class: "act", "aria-label": "Close", onclick: leave }, icon("close")));
  for (const event of ["mouseenter", "focusin"]) toast.addEventListener(event, () => clearTimeout(timer));
  for (const event of ["mouseleave", "focusout"]) toast.addEventListener(event, wait);
  toasts.append(toast);
  while (toasts.children.length > 3) toasts.firstElementChild.remove();
  wait();
}

export const complain = (error) => say(error.message, { isBad: true });

/**
 * Ask something. Resolves to the word of the button, or to "" if the user thinks better of it.
 *
 * `fields` are elements of the form, `buttons` are labels and words, the harmless one first.
 */
export function ask(title, parts, buttons, fields = []) {
  return new Promise((resolve) => {
    const heading = el("h2", { id: "ask-title" }, ...[title].flat());
    const form = el("form", { method: "dialog" }, heading, el("p", {}, ...[parts].flat()), ...fields);
    const row = el("div", { class: "buttons" });
    for (const [label, word, kind] of buttons) {
      row.append(el("button", { type: word === "" ? "button" : "submit", value: word, class: kind ?? "" }, label));
      if (word === "") row.lastElementChild.addEventListener("click", () => dialog.close(""));
    }
    form.append(row);
    dialog.replaceChildren(form);
    dialog.returnValue = "";
    dialog.onclose = () => resolve(dialog.returnValue);
    dialog.showModal();
    (dialog.querySelector("[autofocus]") ?? row.firstElementChild).focus();
  });
}

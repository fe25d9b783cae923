/** Who the user is: a token, or a name and a password. It stays in this tab until that is closed. */

import { credentials, door } from "./daemon.js";
import { ask } from "./messages.js";
import { el } from "./text.js";

/** The one dialog there is: ten requests that are refused at a time ask once. */
let asking = null;
let changed = () => {};

function basic(name, password) {
  const bytes = new TextEncoder().encode(`${name}:${password}`);
  return `Basic ${btoa(String.fromCharCode(...bytes))}`;
}

async function askUser() {
  const isWrong = credentials.get() !== null;
  credentials.forget();
  const name = el("input", { name: "name", autocomplete: "username", autofocus: true, spellcheck: "false", autocapitalize: "none" });
  const secret = el("input", { name: "secret", type: "password", autocomplete: "current-password" });
  const fields = [
    el("label", {}, "Name ", el("small", {}, "(leave it empty for a token)"), name),
    el("label", {}, "Password or token", secret),
  ];
  const text = isWrong
    ? "The daemon does not know these credentials. Try again:"
    : "This daemon wants to know who you are. What you say stays in this tab, until you close it.";
  const buttons = [["Not now", ""], ["Sign in", "yes", "main"]];
  const answer = await ask("Sign in", text, buttons, fields);
  if (answer !== "yes" || secret.value === "") return false;
  credentials.set(name.value === "" ? `Bearer ${secret.value.trim()}` : basic(name.value, secret.value));
  changed();
  return true;
}

export function signIn() {
  asking ??= askUser().finally(() => (asking = null));
  return asking;
}

/** `whenChanged` is called after the user has said who they are, or wants to be nobody again. */
export function openDoor(whenChanged) {
  changed = whenChanged;
  door.signIn = signIn;
}

export function signOut() {
  credentials.forget();
  changed();
}

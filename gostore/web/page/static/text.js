/**
 * Elements, and how names, sizes and times are shown.
 *
 * No text ever becomes HTML here: names are a stranger's. The policy of the page forbids it, too.
 */

export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

export function button(label, name, onclick, attributes = {}) {
  return el("button", { type: "button", onclick, ...attributes }, icon(name), el("span", {}, label));
}

// What turns the direction of text around, or takes no place: with it, "exe.png" may be "gnp.exe".
const HIDDEN = /([\u0080-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ufeff])/;

/** A name, isolated from the text around it, and with what is hidden in it visible. */
export function shown(name) {
  const parts = name.split(HIDDEN).map((part, at) => {
    if (at % 2 === 0) return part;
    const code = part.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
    return el("span", { class: "hidden-char" }, `U+${code}`);
  });
  return el("bdi", { dir: "auto" }, ...parts);
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

export function size(bytes) {
  let unit = 0;
  for (; bytes >= 999.95 && unit < UNITS.length - 1; unit++) bytes /= 1024;
  return unit === 0 ? `${bytes} B` : `${bytes.toFixed(1)} ${UNITS[unit]}`;
}

export const count = (number, one, many = `${one}s`) =>
  `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

const SHORT = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });

export function time(text) {
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) return el("time", {}, text);
  return el("time", { datetime: text, title: text }, SHORT.format(date));
}

export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 86400) return `${(seconds / 3600).toFixed(1)} h`;
  return count(Math.round(seconds / 86400), "day");
}

/** A location as it stands in a path. Nothing is left that a shell or a URL takes for its own. */
export function encode(location) {
  return location
    .split("/")
    .map((part) =>
      encodeURIComponent(part).replace(
        /[!'()*]/g,
        (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
      ),
    )
    .join("/");
}

/** A word of a shell command, whatever is in it. */
export const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export const lastPart = (location) => location.slice(location.replace(/\/$/, "").lastIndexOf("/") + 1);

/** Call a function at most once a frame, however often it is asked for. */
export function oncePerFrame(draw) {
  let isDue = false;
  return () => {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      draw();
    });
  };
}

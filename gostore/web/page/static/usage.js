/** How much is stored, and how much more may be: a bar for the disk and for each quota. */

import { Refused, setRules, usage } from "./daemon.js";
import { count, el, shown, size } from "./text.js";

const footer = document.getElementById("usage");

function meter(label, value, max, text) {
  const share = max > 0 ? Math.min(value / max, 1) : 1;
  const fill = el("span", { class: share > 0.9 ? "fill full" : "fill" });
  // Not as an attribute: the policy of the page has no inline styles.
  fill.style.inlineSize = `${Math.max(100 * share, value > 0 ? 1 : 0)}%`;
  const name = el("span", { class: "label" }, ...label);
  const bar = el("span", { class: "bar", role: "meter", "aria-valuemin": "0", "aria-valuemax": "100",
    "aria-valuenow": String(Math.round(100 * share)), "aria-valuetext": text, "aria-label": name.textContent }, fill);
  return el("div", { class: "meter" }, name, bar, el("span", { class: "note" }, text));
}

function quotaOf(quota) {
  const label = quota.prefix === "" ? ["Quota"] : ["Quota of ", shown(quota.prefix)];
  const isByCount = quota.max_blobs !== null
    && quota.blobs * quota.max_bytes > quota.bytes * quota.max_blobs;
  const bytes = `${size(quota.bytes)} of ${size(quota.max_bytes)}`;
  const blobs = quota.max_blobs === null
    ? "" : `, ${quota.blobs.toLocaleString("en")} of ${count(quota.max_blobs, "blob")}`;
  const [value, max] = isByCount ? [quota.blobs, quota.max_blobs] : [quota.bytes, quota.max_bytes];
  return meter(label, value, max, bytes + blobs);
}

/** Look again. Resolves to the name of the user; null if that is everybody. */
export async function showUsage() {
  let told;
  try {
    told = await usage();
  } catch (error) {
    footer.hidden = true;
    if (error instanceof Refused) return null;
    throw error;
  }
  setRules(told.keep);
  const bars = told.quotas.map(quotaOf);
  if (told.blobs !== undefined) {
    const text = `${count(told.blobs, "blob")}, ${size(told.bytes)}; room for ${size(told.free)}`;
    bars.unshift(meter(["Disk"], told.bytes, told.bytes + told.free, text));
  }
  footer.replaceChildren(...bars);
  footer.hidden = bars.length === 0;
  return told.principal;
}

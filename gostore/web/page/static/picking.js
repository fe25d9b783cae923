/**
 * Files that a user gives: dropped, chosen, or pasted; folders with all that is in them.
 *
 * Each becomes a name below the folder that is shown: "holiday/beach.jpg".
 */

/** The file names that systems leave in every folder. Nobody wants them anywhere else. */
const LITTER = /(^|\/)(\.DS_Store|Thumbs\.db|desktop\.ini)$/;

function readAll(reader) {
  return new Promise((resolve, reject) => {
    const found = [];
    // A reader gives some of them each time it is asked, and none at the end.
    const more = () =>
      reader.readEntries((some) => {
        if (some.length === 0) return resolve(found);
        found.push(...some);
        more();
      }, reject);
    more();
  });
}

const fileOf = (entry) => new Promise((resolve, reject) => entry.file(resolve, reject));

async function walk(entry, found) {
  if (entry.isFile) {
    found.push({ name: entry.fullPath.replace(/^\//, ""), file: await fileOf(entry) });
  } else {
    for (const each of await readAll(entry.createReader())) await walk(each, found);
  }
}

/** What was dropped. The items have to be taken at once: after the event they are empty. */
export async function dropped(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  const entries = items.map((item) => item.webkitGetAsEntry?.() ?? null);
  const files = items.map((item) => item.getAsFile());
  const found = [];
  for (const [at, entry] of entries.entries()) {
    if (entry !== null) await walk(entry, found);
    else if (files[at] !== null) found.push({ name: files[at].name, file: files[at] });
  }
  return tidy(found);
}

export function chosen(input) {
  const found = [...input.files].map((file) => ({ name: file.webkitRelativePath || file.name, file }));
  // So that the same choice is a change again.
  input.value = "";
  return tidy(found);
}

/** Pictures on the clipboard are all called image.png, so they get the time as a name. */
export function pasted(transfer) {
  const now = new Date();
  const two = (number) => String(number).padStart(2, "0");
  const day = [now.getFullYear(), two(now.getMonth() + 1), two(now.getDate())].join("-");
  const stamp = `${day} ${[now.getHours(), now.getMinutes(), now.getSeconds()].map(two).join(".")}`;
  const found = [...transfer.files].map((file, at) => {
    const isNamed = !/^image\.\w+$/.test(file.name);
    const more = at === 0 ? "" : ` (${at + 1})`;
    const extension = file.name.slice(file.name.lastIndexOf("."));
    return { name: isNamed ? file.name : `pasted ${stamp}${more}${extension}`, file };
  });
  return tidy(found);
}

const tidy = (found) => found.filter(({ name }) => !LITTER.test(name));

// What differs between two texts, line by line.

import { h } from "./dom.js";
import { count } from "./text.js";

const AROUND = 3;
/** Above so many pairs of lines the middle is shown as taken away and added whole. */
const MOST_PAIRS = 4_000_000;

/** The lines of both: pairs of a sign (" ", "-", "+") and a line. */
export function lines(before, after) {
  const a = before.split("\n");
  const b = after.split("\n");
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a.at(-1 - tail) === b.at(-1 - tail)) tail += 1;
  const same = (from, to) => a.slice(from, to).map((line) => [" ", line]);
  return [
    ...same(0, head),
    ...middle(a.slice(head, a.length - tail), b.slice(head, b.length - tail)),
    ...same(a.length - tail, a.length),
  ];
}

function middle(a, b) {
  if (a.length * b.length > MOST_PAIRS) return [...a.map((line) => ["-", line]), ...b.map((line) => ["+", line])];
  const width = b.length + 1;
  const longest = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      longest[i * width + j] =
        a[i] === b[j]
          ? longest[(i + 1) * width + j + 1] + 1
          : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
    }
  }
  const found = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      found.push([" ", a[i]]);
      i += 1;
      j += 1;
    } else if (j >= b.length || (i < a.length && longest[(i + 1) * width + j] >= longest[i * width + j + 1])) {
      found.push(["-", a[i]]);
      i += 1;
    } else {
      found.push(["+", b[j]]);
      j += 1;
    }
  }
  return found;
}

const CLASSES = { " ": "same", "-": "gone", "+": "new" };
const SPOKEN = { " ": "", "-": "taken away: ", "+": "added: " };

/** Both texts as one, with what differs marked, and a little around it. */
export function diff(before, after) {
  const all = lines(before, after);
  const near = new Uint8Array(all.length);
  all.forEach(([sign], index) => {
    if (sign !== " ") near.fill(1, Math.max(0, index - AROUND), index + AROUND + 1);
  });
  if (!near.includes(1)) return h("p", { class: "dim" }, "Nothing differs.");
  const rows = [];
  let left = 0;
  const flush = () => {
    if (left) rows.push(h("div", { class: "skipped" }, `${count(left)} equal lines`));
    left = 0;
  };
  all.forEach(([sign, line], index) => {
    if (!near[index]) {
      left += 1;
      return;
    }
    flush();
    rows.push(
      h(
        "div",
        { class: CLASSES[sign] },
        h("span", { class: "sign", "aria-hidden": "true" }, sign),
        h("span", { class: "spoken" }, SPOKEN[sign]),
        line.length > 600 ? `${line.slice(0, 600)}… (${count(line.length)} characters)` : line,
      ),
    );
  });
  flush();
  return h("div", { class: "diff", role: "region", "aria-label": "difference", tabindex: "0" }, rows);
}

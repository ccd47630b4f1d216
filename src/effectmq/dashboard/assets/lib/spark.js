// A small line of the last values of a number.

import { h } from "./dom.js";

const WIDTH = 96;
const HEIGHT = 18;

/** @param {number[]} values Oldest first. @param {string} label What it shows, in words. */
export function spark(values, label) {
  const highest = Math.max(...values, 1e-9);
  const step = values.length > 1 ? (WIDTH - 2) / (values.length - 1) : 0;
  const points = values.map(
    (value, index) => `${(1 + index * step).toFixed(1)},${(HEIGHT - 2 - (value / highest) * (HEIGHT - 4)).toFixed(1)}`,
  );
  const area = points.length ? `1,${HEIGHT - 1} ${points.join(" ")} ${(1 + (points.length - 1) * step).toFixed(1)},${HEIGHT - 1}` : "";
  return h(
    "svg:svg",
    { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, role: "img", "aria-label": label },
    h("svg:polygon", { points: area, class: "area" }),
    h("svg:polyline", { points: points.join(" "), class: "line" }),
  );
}

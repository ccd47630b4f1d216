// A text that may be a mebibyte: its beginning, and a button for the rest.

import { fill, h } from "./dom.js";
import { MOST, count } from "./text.js";

/**
 * @param {string} text Any text.
 * @param {object} [how]
 * @param {number} [how.most] How many characters are shown at first.
 * @param {boolean} [how.quoted] Whether it is written as JSON writes it.
 */
export function longText(text, { most = MOST, quoted = false } = {}) {
  const write = (part) => (quoted ? JSON.stringify(part) : part);
  const whole = h("span", { class: "text" }, write(text.slice(0, most)));
  if (text.length <= most) return whole;
  const button = h(
    "button",
    {
      type: "button",
      class: "quiet",
      on: {
        click: () => {
          fill(whole, write(text));
          button.remove();
        },
      },
    },
    `show all ${count(text.length)} characters`,
  );
  return h("span", { class: "longtext" }, whole, h("span", { class: "dim" }, " … "), button);
}

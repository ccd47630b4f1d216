// A document as a tree that opens: nothing below a closed branch is made before it is asked for.

import { Numeral } from "./exact.js";
import { h } from "./dom.js";
import { longText } from "./longtext.js";
import { count, many, short } from "./text.js";

const AT_ONCE = 200;

/** @param {unknown} value A document. @param {number} [open] How many levels are open. */
export function tree(value, open = 2) {
  return h("div", { class: "tree" }, node(null, value, open));
}

function node(name, value, open) {
  const label = name === null ? [] : [h("span", { class: "name" }, short(String(name), 200)), ": "];
  if (value === null || typeof value !== "object" || value instanceof Numeral) {
    return h("div", { class: "leaf" }, label, scalar(value));
  }
  const members = Array.isArray(value) ? [...value.entries()] : Object.entries(value);
  if (!members.length) return h("div", { class: "leaf" }, label, Array.isArray(value) ? "[]" : "{}");
  const body = h("div", { class: "members" });
  const branch = h(
    "details",
    { open: open > 0 },
    h("summary", {}, label, h("span", { class: "dim" }, hint(value, members))),
    body,
  );
  const make = () => {
    if (!body.firstChild) more(body, members, 0, open - 1);
  };
  if (open > 0) make();
  branch.addEventListener("toggle", make);
  return branch;
}

function more(body, members, from, open) {
  const to = from + AT_ONCE;
  body.append(...members.slice(from, to).map(([name, value]) => node(name, value, open)));
  if (to < members.length) {
    const button = h(
      "button",
      {
        type: "button",
        class: "quiet",
        on: {
          click: () => {
            button.remove();
            more(body, members, to, open);
          },
        },
      },
      `show more of ${count(members.length)}`,
    );
    body.append(button);
  }
}

function hint(value, members) {
  if (Array.isArray(value)) return `[${many(members.length, "item")}]`;
  const type = typeof value.type === "string" ? ` ${short(value.type, 40)}` : "";
  return `{${many(members.length, "member")}}${type}`;
}

function scalar(value) {
  if (typeof value === "string") {
    return h("span", { class: "string" }, longText(value, { quoted: true }));
  }
  return h("span", { class: value === null ? "null" : typeof value === "boolean" ? "boolean" : "number" }, String(value));
}

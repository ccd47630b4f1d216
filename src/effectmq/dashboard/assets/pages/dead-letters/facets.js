// What the letters have in common, with counts; a click chooses.

import { h } from "../../lib/dom.js";
import { count, short } from "../../lib/text.js";

const SHOWN = ["reason", "kind", "tool", "error", "model", "route"];
const MOST = 8;

/** The facets, for the side of the page. */
export function facets(report, choice, onChange) {
  return SHOWN.map((name) => {
    const counts = Object.entries(report.facets[name] ?? {});
    const values = counts.filter(([value]) => value);
    // What was chosen stays, also when nothing has it any more.
    for (const value of choice.filter[name]) {
      if (!values.some(([one]) => one === value)) values.push([value, 0]);
    }
    // Without lanes, routes are the kinds.
    if (!values.length || (name === "route" && !values.some(([value]) => value.includes(".")))) return null;
    return h(
      "section",
      { "data-key": name },
      h("h2", {}, name),
      h("ul", {}, values.slice(0, MOST).map(([value, number]) => item(name, value, number, choice, onChange))),
      values.length > MOST && h("p", { class: "dim" }, `and ${count(values.length - MOST)} more`),
    );
  }).filter(Boolean);
}

function item(name, value, number, choice, onChange) {
  const chosen = choice.has(name, value);
  return h(
    "li",
    {},
    h(
      "button",
      {
        type: "button",
        "aria-pressed": String(chosen),
        title: value,
        "data-facet": name,
        "data-value": value.slice(0, 200),
        "data-count": number,
        on: {
          click: () => {
            choice.toggle(name, value);
            onChange();
          },
        },
      },
      h("span", {}, short(value, 60)),
      h("span", { class: "dim" }, count(number)),
    ),
  );
}

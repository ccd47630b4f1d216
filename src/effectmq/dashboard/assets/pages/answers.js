// Effects that wait for a person: what is asked, and a form that answers.

import { api } from "../lib/api.js";
import { dialog, doing, note } from "../lib/dialog.js";
import { fill, h } from "../lib/dom.js";
import { effectPath, sessionLink } from "../lib/links.js";
import { live } from "../lib/live.js";
import { longText } from "../lib/longtext.js";
import { operates } from "../lib/me.js";
import { table } from "../lib/table.js";
import { count } from "../lib/text.js";
import { ago, moment } from "../lib/times.js";

const MOST = 200;

export async function show(page) {
  const total = h("span", { class: "dim", id: "total" });
  const list = table(
    "Waiting for an answer",
    [
      { title: "asked", cell: (row) => longText(row.note), class: "big" },
      { title: "effect", cell: (row) => h("a", { href: effectPath(row.id) }, row.effect_id) },
      { title: "session", cell: (row) => sessionLink(row.session_id) },
      { title: "since", cell: (row) => ago(row.asked_ms), class: "num" },
      { title: "until", cell: (row) => moment(row.deadline_ms), class: "num" },
      {
        title: "",
        cell: (row) => operates && h("button", { type: "button", on: { click: () => void answer(row).then(() => refresh()) } }, "answer…"),
      },
    ],
    { key: (row) => row.id, empty: () => [h("strong", {}, "Nothing waits for a person."), "What a tool or a handler hands out is here until it is answered."] },
  );
  fill(page, h("div", { class: "head" }, h("h1", {}, "Answers"), total), h("section", { class: "panel" }, list.element));
  const { now: refresh } = live(async (signal) => {
    const seen = await api.get("/answers", { query: { limit: MOST }, signal });
    fill(total, `${count(seen.total)} waiting, the nearest deadline first`);
    list.show(seen.waiting);
  }, 3_000);
}

/** The value with which a form begins, by the schema of what is asked for. */
function draft(schema) {
  if (!schema || typeof schema !== "object") return null;
  if ("default" in schema) return schema.default;
  if (Array.isArray(schema.enum)) return schema.enum[0];
  switch (schema.type) {
    case "object":
      return Object.fromEntries(Object.entries(schema.properties ?? {}).map(([name, of]) => [name, draft(of)]));
    case "array":
      return [];
    case "string":
      return "";
    case "boolean":
      return false;
    case "integer":
    case "number":
      return 0;
    default:
      return null;
  }
}

function answer(row) {
  return dialog("Answer this effect", (close) => {
    const value = h("textarea", { name: "value", rows: 6, spellcheck: "false", class: "mono", autofocus: true });
    value.value = JSON.stringify(draft(row.value_schema), null, 2);
    const reason = h("input", { name: "reason", maxlength: 2000, autocomplete: "off" });
    const place = h("div", { "aria-live": "polite" });
    const go = h("button", { class: "main" }, "answer");
    const no = h("button", { type: "button", class: "danger" }, "refuse");
    const give = async (button, given) => {
      const done = await doing(button, place, () => api.post("/answers", { id: row.id, ...given() }));
      if (!done) return;
      note(done.counts ? "it is answered" : `it was ${done.status} already`, done.counts ? "good" : "warn");
      close();
    };
    no.addEventListener("click", () => {
      if (reason.value.trim()) void give(no, () => ({ error: reason.value }));
      else fill(place, h("p", { class: "bad", role: "alert" }, "Give the reason, which its caller is told."));
    });
    return [
      h(
        "form",
        {
          on: {
            submit: (event) => {
              event.preventDefault();
              void give(go, () => ({ value: JSON.parse(value.value) }));
            },
          },
        },
        h("p", {}, longText(row.note)),
        h("label", { class: "field" }, "the value, as JSON", value),
        h("label", { class: "field" }, "or the reason why it is refused", reason),
        place,
        h("div", { class: "actions" }, h("button", { type: "button", on: { click: () => close() } }, "close"), no, go),
      ),
    ];
  });
}

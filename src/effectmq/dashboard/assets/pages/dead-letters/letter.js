// One dead letter: what it is, what is in it, and what can be done with it.

import { api } from "../../lib/api.js";
import { dialog, doing, note } from "../../lib/dialog.js";
import { diff } from "../../lib/diff.js";
import { fill, h } from "../../lib/dom.js";
import { parse, write } from "../../lib/exact.js";
import { sessionLink, tag } from "../../lib/links.js";
import { longText } from "../../lib/longtext.js";
import { follow, outcome } from "../../lib/operations.js";
import { pairs } from "../../lib/table.js";
import { bytes } from "../../lib/text.js";
import { moment } from "../../lib/times.js";
import { tree } from "../../lib/tree.js";
import { checked } from "./deeds.js";

/** Show one letter; resolves to what was asked for: "replay", "purge", or nothing. */
export async function open(id, may) {
  const detail = await api.get(`/dead-letters/${encodeURIComponent(id)}`, { exact: true });
  const { record } = detail;
  return dialog(
    `Dead letter ${record.id}`,
    (close) => [
      h("div", { class: "columns" }, facts(record), error(record)),
      h(
        "div",
        { class: "actions" },
        may &&
          h("button", { type: "button", disabled: !detail.replayable, on: { click: () => close("replay") } }, "replay…"),
        may &&
          record.form === "envelope" &&
          h("button", { type: "button", on: { click: () => void edit(record) } }, "edit…"),
        may && h("button", { type: "button", class: "danger", on: { click: () => close("purge") } }, "purge…"),
      ),
      h("section", {}, h("h3", {}, FORMS[record.form] ?? "Content"), content(record)),
    ],
    { wide: true },
  );
}

const FORMS = {
  envelope: "Envelope",
  outcome: "Outcome that was not delivered",
  json: "JSON data that is no envelope",
  bytes: "Bytes that are no data",
};

function facts(record) {
  return pairs([
    ["reason", tag(record.reason, "bad")],
    ["parked", record.parked_ms ? moment(record.parked_ms) : ""],
    ["by", record.parked_by],
    ["effect", record.effect_id],
    ["kind", record.kind],
    ["tool", record.tool],
    ["model", record.model],
    ["route", record.route],
    ["session", record.session_id && sessionLink(record.session_id)],
    ["turn", record.turn_id],
    ["attempts", record.attempts || ""],
    ["deaths", record.deaths || ""],
    ["hash", record.hash && h("code", {}, record.hash)],
    ["edited from", record.edited_from && h("code", {}, record.edited_from)],
    ["body", bytes(record.body_bytes)],
  ]);
}

function error(record) {
  return h(
    "div",
    {},
    record.code && h("p", {}, h("code", {}, record.code)),
    h("p", {}, longText(record.detail)),
    record.problem && h("p", { class: "warn" }, "It cannot be replayed as it is: ", longText(record.problem)),
  );
}

function content(record) {
  if (record.form === "bytes") return h("p", { class: "mono" }, longText(record.body_base64 ?? ""));
  return tree(record.envelope, 4);
}

/** Another envelope for one letter, with what the edit changes before it is sent. */
function edit(record) {
  const before = write(record.envelope);
  return dialog(
    `Edit ${record.effect_id || record.id}`,
    (close) => {
      const text = h("textarea", { name: "envelope", spellcheck: "false", rows: 24, "aria-label": "envelope" });
      text.value = before;
      const place = h("div", { "aria-live": "polite" });
      const look = h("button", { class: "main" }, "check and compare");
      const go = h("button", { type: "button", class: "main", hidden: true }, "send");
      const body = (dry) =>
        `{"choice":${JSON.stringify({ ids: [record.id] })},"dry_run":${dry},"envelope":${checked(text.value)}}`;
      const ask = async (dry) => {
        const operation = await follow(await api.post("/dead-letters/edit", body(dry)), place);
        fill(place, outcome(operation));
        return operation;
      };
      text.addEventListener("input", () => {
        go.hidden = true;
        look.hidden = false;
      });
      go.addEventListener("click", async () => {
        const operation = await doing(go, place, () => ask(false));
        if (operation?.state === "done" && operation.report?.done !== 0) {
          note(`letter ${record.id} was edited and replayed`);
          go.hidden = true;
        }
      });
      return [
        h(
          "form",
          {
            on: {
              submit: async (event) => {
                event.preventDefault();
                const operation = await doing(look, place, async () => {
                  checked(text.value);
                  return ask(true);
                });
                if (!operation) return;
                place.append(diff(before, write(parse(text.value))));
                const fits = operation.state === "done" && operation.report?.skipped !== 1;
                go.hidden = !fits;
                look.hidden = fits;
              },
            },
          },
          text,
          place,
          h("div", { class: "actions" }, h("button", { type: "button", on: { click: () => close() } }, "close"), look, go),
        ),
      ];
    },
    { wide: true },
  );
}

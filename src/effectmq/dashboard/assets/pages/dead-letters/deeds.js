// Replay, edit by a patch, and purge, of one letter or a hundred thousand.

import { api } from "../../lib/api.js";
import { dialog, doing, note } from "../../lib/dialog.js";
import { fill, h } from "../../lib/dom.js";
import { parse } from "../../lib/exact.js";
import { follow, outcome } from "../../lib/operations.js";
import { count, many, short } from "../../lib/text.js";

const DEFAULT_RATE = 50;

/** Run a deed and show what becomes of it; the operation as it ended. */
async function perform(action, body, where) {
  const operation = await follow(await api.post(`/dead-letters/${action}`, body), where);
  fill(where, outcome(operation));
  return operation;
}

function rateField() {
  const input = h("input", { type: "number", name: "rate", min: "0.1", step: "any", value: DEFAULT_RATE, required: true });
  return [h("label", { class: "field" }, "at most so many a second", input), () => Number(input.value)];
}

function told(operation) {
  if (operation?.state !== "done" || operation.dry_run) return;
  const did = { replay: "replayed", edit: "edited and replayed", purge: "purged" }[operation.action];
  note(`${many(operation.report?.done ?? operation.done, "letter")} ${did}`);
}

/** Send letters back as they are. */
export function replay(choice, total) {
  return dialog("Replay dead letters", (close) => {
    const [rate, rateOf] = rateField();
    const place = h("div", { "aria-live": "polite" });
    const body = (dry) => ({ choice: choice.body, rate: rateOf(), dry_run: dry });
    return [deedForm(choice.words(total), [rate], place, close, "replay", body, "replay")];
  });
}

/** Send letters back, each changed by a patch. */
export function patch(choice, total) {
  return dialog(
    "Edit and replay dead letters",
    (close) => {
      const [rate, rateOf] = rateField();
      const place = h("div", { "aria-live": "polite" });
      const text = h(
        "textarea",
        { name: "patch", spellcheck: "false", rows: 8 },
        '[\n  {"op": "replace", "path": "/command/call/args/…", "value": …}\n]',
      );
      const body = (dry) =>
        `{"choice":${JSON.stringify(choice.body)},"rate":${rateOf()},"dry_run":${dry},"patch":${checked(text.value)}}`;
      return [
        deedForm(
          choice.words(total),
          [h("label", { class: "field" }, "JSON Patch (RFC 6902) for each envelope", text), rate],
          place,
          close,
          "edit",
          body,
          "edit and replay",
        ),
      ];
    },
    { wide: true },
  );
}

/** The text of a document that parses, to the digit; else a sentence with where it does not. */
export function checked(text) {
  try {
    parse(text);
  } catch (problem) {
    throw new Error(`This is no JSON document: ${problem.message}.`);
  }
  return text;
}

function deedForm(words, fields, place, close, action, body, verb) {
  const go = h("button", { class: "main" }, verb);
  const look = h("button", { type: "button" }, "look first");
  const run = async (button, dry) => {
    const operation = await doing(button, place, () => perform(action, body(dry), place));
    if (!operation) return;
    if (dry) {
      if (operation.report?.edits) place.append(previews(operation.report.edits));
    } else if (operation.state === "done") {
      told(operation);
      go.remove();
      look.remove();
    }
  };
  look.addEventListener("click", () => run(look, true));
  return h(
    "form",
    {
      on: {
        submit: (event) => {
          event.preventDefault();
          void run(go, false);
        },
      },
    },
    h("p", { class: "strong" }, words),
    fields,
    place,
    h(
      "div",
      { class: "actions" },
      h("button", { type: "button", on: { click: () => close() } }, "close"),
      look,
      go,
    ),
  );
}

/** What a patch makes of the first letters. */
function previews(edits) {
  return h(
    "div",
    { class: "previews" },
    edits.slice(0, 10).map((edit) =>
      h(
        "div",
        {},
        h("h3", {}, `${short(edit.effect_id, 60)}: ${edit.edited_from.slice(0, 12)} → ${edit.hash.slice(0, 12)}`),
        h(
          "div",
          { class: "diff" },
          edit.changes.flatMap((change) => [
            "before" in change && change.change !== "added" && line("gone", "-", change.path, change.before),
            "after" in change && change.change !== "removed" && line("new", "+", change.path, change.after),
          ]),
        ),
      ),
    ),
    edits.length > 10 && h("p", { class: "dim" }, `and ${count(edits.length - 10)} more`),
  );
}

function line(kind, sign, path, value) {
  return h("div", { class: kind }, h("span", { class: "sign" }, sign), `${path}: ${short(JSON.stringify(value), 400)}`);
}

/** Throw letters away, behind typing how many. */
export function purge(choice, total) {
  const number = choice.count(total);
  return dialog("Purge dead letters", (close) => {
    const place = h("div", { "aria-live": "polite" });
    const typed = h("input", { name: "count", inputmode: "numeric", autocomplete: "off", autofocus: true });
    const go = h("button", { class: "danger", disabled: true }, "purge for ever");
    typed.addEventListener("input", () => {
      go.disabled = typed.value.trim() !== String(number);
    });
    return [
      h(
        "form",
        {
          on: {
            submit: async (event) => {
              event.preventDefault();
              if (go.disabled) return;
              const body = { choice: choice.body, expect: number };
              const operation = await doing(go, place, () => perform("purge", body, place));
              if (operation?.state === "done") {
                told(operation);
                go.remove();
              }
            },
          },
        },
        h("p", {}, h("strong", {}, choice.words(total)), ". They are gone for ever; nobody can replay them after that."),
        h("label", { class: "field" }, `Type ${number} to go on`, typed),
        place,
        h("div", { class: "actions" }, h("button", { type: "button", on: { click: () => close() } }, "close"), go),
      ),
    ];
  });
}

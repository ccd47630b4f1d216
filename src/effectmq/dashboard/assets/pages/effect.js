// One effect: what it is, its time line, its kin, its envelope and outcome, and how it differs from another.

import { api, path } from "../lib/api.js";
import { dialog, doing, note } from "../lib/dialog.js";
import { fill, h } from "../lib/dom.js";
import { effectPath, sessionLink, status, tag, what } from "../lib/links.js";
import { live } from "../lib/live.js";
import { longText } from "../lib/longtext.js";
import { operates } from "../lib/me.js";
import { progressWords } from "../lib/progress.js";
import { streamed } from "../lib/stream.js";
import { pairs } from "../lib/table.js";
import { count, dollars, many, short } from "../lib/text.js";
import { moment, span } from "../lib/times.js";
import { tree } from "../lib/tree.js";
import { timeline } from "./effects/timeline.js";

/** The most characters of a stream that are shown. */
const STREAM = 20_000;
const SETTLED = new Set(["completed", "failed", "cancelled", "forgotten"]);

export async function show(page) {
  const id = new URLSearchParams(location.search).get("id") ?? "";
  if (!id) {
    fill(page, h("p", {}, "This page needs the id of an effect. ", h("a", { href: "/effects" }, "Look for one.")));
    return;
  }
  let shown = "";
  const stream = streamed(STREAM);
  const { now: refresh, stop } = live(async (signal) => {
    const effect = await api.get(`/effects/${encodeURIComponent(id)}`, { signal, exact: true });
    // What is open in the trees stays open until something changes.
    const version = JSON.stringify([effect.status, effect.attempts, Number(effect.updated_ms), effect.lineage.length]);
    if (version !== shown) paint(page, effect, stream.place, () => refresh());
    shown = version;
    stream.follow(SETTLED.has(effect.status) || effect.park_reason ? "" : effect.id);
    stream.recorded(effect.progress);
    if (SETTLED.has(effect.status) && !effect.park_reason) stop();
  });
}

function paint(page, effect, stream, refresh) {
  fill(
    page,
    h(
      "div",
      { class: "head" },
      h("h1", {}, what(effect)),
      status(effect),
      h("span", { class: "dim mono" }, effect.hash.slice(0, 12)),
      h(
        "div",
        { class: "tools" },
        h("button", { type: "button", on: { click: () => void compare(effect) } }, "compare…"),
        operates && !SETTLED.has(effect.status) && h("button", { type: "button", class: "danger", on: { click: () => void cancel(effect).then(refresh) } }, "cancel…"),
      ),
    ),
    effect.error && h("div", { class: "banner bad" }, h("p", {}, h("strong", {}, effect.error.code), " ", longText(effect.error.message))),
    stream,
    h(
      "div",
      { class: "columns" },
      panel("Facts", facts(effect)),
      panel("Time line", timeline(effect)),
      panel(lineageTitle(effect), lineage(effect)),
    ),
    h(
      "div",
      { class: "columns" },
      panel("Envelope", effect.envelope ? tree(effect.envelope, 3) : h("p", { class: "dim" }, "It is not kept.")),
      panel("Outcome", effect.outcome ? tree(effect.outcome, 4) : h("p", { class: "dim" }, SETTLED.has(effect.status) ? "There is none." : "Not yet.")),
    ),
  );
}

function panel(title, content) {
  return h("section", { class: "panel" }, h("header", {}, h("h2", {}, title)), h("div", { class: "inside" }, content));
}

function facts(effect) {
  const tokens = effect.tokens;
  return pairs([
    ["effect id", effect.effect_id],
    ["replay key", effect.replay_key],
    ["session", sessionLink(effect.session_id)],
    ["turn", effect.turn_id],
    ["scope", effect.scope_id],
    ["hash", h("code", {}, effect.hash)],
    ["worker", effect.worker],
    ["attempts", count(effect.attempts)],
    // While it runs the bar has it.
    ["progress", SETTLED.has(effect.status) ? progressWords(effect.progress) : ""],
    ["deaths", Number(effect.deaths) ? `${count(effect.deaths)}: ${effect.dead_workers.join(", ")}` : ""],
    ["parked", effect.park_reason && h("a", { href: path("/dead-letters", { session: effect.session_id }) }, effect.park_reason)],
    ["replayed", effect.replayed ? "it was parked before, and sent back" : ""],
    ["lease", Number(effect.lease_left_ms) ? `${span(effect.lease_left_ms / 1000)} left` : ""],
    ["tokens", tokens && `${count(tokens.input)} in (${count(tokens.cached_input)} cached), ${count(tokens.output)} out`],
    ["cost", dollars(effect.cost_usd)],
    ["began", moment(effect.created_ms)],
    ["last change", moment(effect.updated_ms)],
  ]);
}

function lineageTitle(effect) {
  return `Lineage: ${many(effect.lineage.length, "effect")}${effect.lineage_more ? " and more" : ""}`;
}

function lineage(effect) {
  const cause = effect.lineage_cause;
  return h(
    "ul",
    { class: "lineage" },
    cause && h("li", { class: "dim" }, `${cause.type ?? "cause"} ${short(Object.values(cause).at(-1), 60)}, not in the journal`),
    effect.lineage.map((kin) => {
      const depth = Math.min(12, Number(kin.depth)) + (cause ? 1 : 0);
      const link = kin.focus ? h("strong", {}, what(kin.effect)) : h("a", { href: effectPath(kin.effect.id) }, what(kin.effect));
      return h("li", { "aria-current": kin.focus ? "true" : null, class: `deep-${depth}` }, "└ ".repeat(depth ? 1 : 0), link, " ", status(kin.effect));
    }),
  );
}

async function compare(effect) {
  await dialog(
    "Compare with another effect",
    (close) => {
      const other = h("input", { name: "other", autocomplete: "off", required: true, autofocus: true });
      const place = h("div", { "aria-live": "polite" });
      const go = h("button", { class: "main" }, "compare");
      return [
        h(
          "form",
          {
            on: {
              submit: async (event) => {
                event.preventDefault();
                const found = await doing(go, place, () => api.get(`/effects/${encodeURIComponent(effect.id)}/diff/${encodeURIComponent(other.value.trim())}`));
                if (found) fill(place, changes(found));
              },
            },
          },
          h("label", { class: "field" }, "its replay key, effect id, or the first digits of its hash", other),
          place,
          h("div", { class: "actions" }, h("button", { type: "button", on: { click: () => close() } }, "close"), go),
        ),
      ];
    },
    { wide: true },
  );
}

function changes(found) {
  if (found.same) return h("p", {}, tag("the same", "good"), " Envelopes, and outcomes where both have one, do not differ.");
  return h(
    "div",
    { class: "diff", tabindex: "0", role: "region", "aria-label": "difference" },
    found.changes.flatMap((change) => [
      change.change !== "added" && h("div", { class: "gone" }, h("span", { class: "sign" }, "-"), `${change.part} ${change.path}: ${short(JSON.stringify(change.before), 600)}`),
      change.change !== "removed" && h("div", { class: "new" }, h("span", { class: "sign" }, "+"), `${change.part} ${change.path}: ${short(JSON.stringify(change.after), 600)}`),
    ]),
    found.more && h("div", { class: "skipped" }, "there are more"),
  );
}

function cancel(effect) {
  return dialog("Cancel this effect", (close) => {
    const reason = h("input", { name: "reason", required: true, maxlength: 1000, autocomplete: "off", autofocus: true });
    const place = h("div", { "aria-live": "polite" });
    const go = h("button", { class: "danger" }, "cancel the effect");
    return [
      h(
        "form",
        {
          on: {
            submit: async (event) => {
              event.preventDefault();
              const done = await doing(go, place, () => api.post("/effects/cancel", { id: effect.id, reason: reason.value }));
              if (!done) return;
              note(done.won === "cancelled" ? "it is cancelled" : "its outcome came first", done.won === "cancelled" ? "good" : "warn");
              close();
            },
          },
        },
        h("p", {}, "Exactly one of the two wins: the cancellation, or an outcome that comes before it."),
        h("label", { class: "field" }, "the reason, which its producer is told", reason),
        place,
        h("div", { class: "actions" }, h("button", { type: "button", on: { click: () => close() } }, "close"), go),
      ),
    ];
  });
}

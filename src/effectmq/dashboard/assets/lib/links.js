// Links between pages, and how things are called on all of them.

import { path } from "./api.js";
import { h } from "./dom.js";
import { short } from "./text.js";

const GOOD = new Set(["completed", "done", "exists"]);
const BAD = new Set(["failed"]);
const WARN = new Set(["missing", "waiting", "cancelled", "paused", "stopped", "draining"]);

/** A word in a frame, coloured by what it means. */
export function tag(word, kind) {
  const tone = kind ?? (GOOD.has(word) ? "good" : BAD.has(word) ? "bad" : WARN.has(word) ? "warn" : "");
  return h("span", { class: `tag ${tone}` }, word.replaceAll("_", " "));
}

export const effectPath = (id) => path("/effect", { id });
export const sessionPath = (id) => path("/session", { id });

/** A link to a session, or a dash. */
export function sessionLink(id) {
  return id ? h("a", { href: sessionPath(id), title: id }, short(id, 28)) : h("span", { class: "dim" }, "–");
}

/** What an effect does: the tool or model, else the kind. */
export function what(effect) {
  const name = effect.tool || effect.model;
  if (!name) return effect.kind ? effect.kind : h("span", { class: "dim" }, "unknown");
  return [short(name, 32), " ", h("span", { class: "dim" }, effect.kind)];
}

/** Whether an effect failed; a failure is one also when it came as an outcome. */
export function hasFailed(effect) {
  return Boolean(effect.failed) || effect.status === "failed";
}

/** The status of an effect. */
export function status(effect) {
  if (effect.park_reason) return tag(`parked: ${effect.park_reason}`, "bad");
  if (hasFailed(effect)) return tag("failed", "bad");
  return tag(effect.status);
}

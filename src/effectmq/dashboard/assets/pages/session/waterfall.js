// The bars of a waterfall, as SVG.

import { h } from "../../lib/dom.js";
import { effectPath, hasFailed } from "../../lib/links.js";
import { count, dollars, short } from "../../lib/text.js";
import { span, ticks } from "../../lib/times.js";

const ROW = 22;
const NAMES = 220;
const LEAST = 360;
const AFTER = 96;
// The width of a character at the end of a row, at most.
const LETTER = 6.8;
const SORTS = { llm_call: "model", direct: "model", tool_call: "tool", exec_code: "code" };

/**
 * One drawing of all turns and effects of a session.
 * @param {object} session As the API has it.
 * @param {number} room How wide it may be, in pixels.
 */
export function waterfall({ turns, effects, now_ms: now }, room) {
  const from = Math.min(...effects.map((effect) => effect.created_ms));
  const to = Math.max(from + 1, ...effects.map((effect) => effect.ended_ms ?? now));
  const rows = turns.flatMap((turn) => [
    { turn, after: afterTurn(turn, now) },
    ...effects.filter((effect) => (effect.turn_id ?? null) === (turn.turn_id ?? null)).map((effect) => ({ effect, after: afterEffect(effect, now) })),
  ]);
  const tail = Math.max(AFTER, ...rows.map((row) => 16 + LETTER * row.after.length));
  const bars = Math.max(LEAST, room - NAMES - tail);
  const width = NAMES + bars + tail;
  const x = (ms) => NAMES + ((ms - from) / (to - from)) * bars;
  const height = (rows.length + 1) * ROW + 6;
  return h(
    "svg:svg",
    { class: "waterfall", viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": "effects over time" },
    ticks(to - from).map(({ ms, words }) => {
      const at = x(from + ms);
      return [
        h("svg:line", { x1: at, x2: at, y1: ROW, y2: height, class: "tick" }),
        h("svg:text", { x: at, y: 14, class: "scale", "text-anchor": ms === 0 ? "start" : "middle" }, words),
      ];
    }),
    rows.map((row, index) => {
      const y = (index + 1) * ROW + 4;
      const end = h("svg:text", { x: NAMES + bars + 8, y: y + 15, class: "after" }, row.after);
      return row.turn ? turnRow(row.turn, y, x, now, end) : effectRow(row.effect, y, x, now, width, end);
    }),
  );
}

function afterTurn(turn, now) {
  const tokens = turn.tokens_in + turn.tokens_out ? `${count(turn.tokens_in)} → ${count(turn.tokens_out)} tok` : "";
  return [tokens || span(((turn.end_ms ?? now) - turn.start_ms) / 1000), dollars(turn.cost_usd)].filter(Boolean).join(" · ");
}

function afterEffect(effect, now) {
  const took = span(((effect.ended_ms ?? now) - effect.created_ms) / 1000);
  const tries = effect.attempts > 1 ? ` ×${effect.attempts}` : "";
  return [`${took}${tries}`, dollars(effect.cost_usd)].filter(Boolean).join(" · ");
}

function turnRow(turn, y, x, now, after) {
  const end = turn.end_ms ?? now;
  return h(
    "svg:g",
    { class: "turn" },
    h("svg:text", { x: 0, y: y + 15, class: "label" }, short(turn.turn_id ?? "outside of turns", 28)),
    h("svg:rect", { x: x(turn.start_ms), y: y + 9, width: Math.max(2, x(end) - x(turn.start_ms)), height: 4, rx: 2 }),
    after,
  );
}

function effectRow(effect, y, x, now, width, after) {
  const end = effect.ended_ms ?? now;
  const running = effect.ended_ms === null;
  const left = x(effect.created_ms);
  const took = span((end - effect.created_ms) / 1000);
  const name = effect.tool || effect.model || effect.kind || "effect";
  const sort = hasFailed(effect) ? "failed" : running ? "running" : (SORTS[effect.kind] ?? "other");
  const state = hasFailed(effect) ? "failed" : effect.status.replaceAll("_", " ");
  const tokens = effect.tokens ? ` · ${count(effect.tokens.input)} → ${count(effect.tokens.output)} tok` : "";
  const price = dollars(effect.cost_usd);
  const cost = price && ` · ${price}`;
  const tries = effect.attempts > 1 ? ` · ${count(effect.attempts)} attempts` : "";
  const label = `${short(name, 60)}, ${effect.kind}, ${state}, ${took}${tokens}${cost}${tries}${effect.replayed ? ", replayed" : ""}`;
  return h(
    "svg:a",
    { href: effectPath(effect.id), "aria-label": label, class: "effect" },
    h("svg:rect", { x: 0, y, width, height: ROW, class: "ground" }),
    h("svg:text", { x: 14, y: y + 15, class: "label" }, short(name, 26)),
    h("svg:rect", { x: left, y: y + 4, width: Math.max(3, x(end) - left), height: ROW - 9, rx: 3, class: `bar ${sort}` }),
    effect.replayed && h("svg:text", { x: left - 14, y: y + 15, class: "mark" }, "↻"),
    after,
  );
}

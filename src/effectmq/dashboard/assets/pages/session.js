// A session as a waterfall: its turns, and their effects as bars on one scale of time.

import { api, path } from "../lib/api.js";
import { fill, h, reconcile } from "../lib/dom.js";
import { effectPath, what } from "../lib/links.js";
import { live } from "../lib/live.js";
import { streamed } from "../lib/stream.js";
import { count, dollars, many, short } from "../lib/text.js";
import { ago, span } from "../lib/times.js";
import { waterfall } from "./session/waterfall.js";

/** The characters that are shown of what the newest effect streams. */
const TAIL = 200;

export async function show(page) {
  const id = new URLSearchParams(location.search).get("id") ?? "";
  if (!id) {
    fill(page, h("p", {}, "This page needs the id of a session. ", h("a", { href: "/effects" }, "Look for an effect of it.")));
    return;
  }
  const summary = h("span", { class: "dim" });
  const place = h("div");
  let drawn = "";
  const stream = streamed(TAIL);
  const streaming = h("p");
  stream.place.prepend(streaming);
  stream.place.classList.add("inside");
  fill(
    page,
    h("div", { class: "head" }, h("h1", {}, short(id, 80)), summary),
    h(
      "section",
      { class: "panel" },
      h("header", {}, h("h2", {}, "Waterfall"), legend()),
      h("div", { class: "inside scroller", role: "region", "aria-label": "waterfall", tabindex: "0" }, place),
      stream.place,
    ),
  );
  live(async (signal) => {
    const seen = await api.get(`/sessions/${encodeURIComponent(id)}`, { signal });
    const tokens = seen.turns.reduce((sum, turn) => [sum[0] + turn.tokens_in, sum[1] + turn.tokens_out], [0, 0]);
    const cost = dollars(seen.turns.reduce((sum, turn) => sum + Number(turn.cost_usd ?? 0), 0));
    const starts = seen.effects.map((effect) => effect.created_ms);
    const ends = seen.effects.map((effect) => effect.ended_ms ?? seen.now_ms).sort((a, b) => a - b);
    fill(
      summary,
      `${many(seen.turns.length, "turn")}, ${many(seen.effects.length, "effect")}`,
      seen.more && [", the newest of ", h("a", { href: path("/effects", { session: id }) }, "all of them")],
      tokens[0] + tokens[1] ? `, ${count(tokens[0])} tokens in and ${count(tokens[1])} out` : "",
      cost && `, ${cost}`,
      starts.length ? [`, ${span((Math.max(...ends) - Math.min(...starts)) / 1000)}, began `, ago(Math.min(...starts)), " ago"] : "",
    );
    const newest = seen.effects.findLast((effect) => effect.status === "in_progress");
    if (stream.follow(newest?.id ?? "")) fill(streaming, newest && [h("a", { href: effectPath(newest.id) }, what(newest)), " streams"]);
    stream.recorded(newest?.progress ?? null);
    // What runs grows; what has ended is drawn once.
    const version = JSON.stringify([seen.turns, seen.effects, ends.at(-1)]);
    if (version !== drawn) reconcile(place, [h("div", { "data-key": "drawing" }, waterfall(seen, place.clientWidth))]);
    drawn = version;
  });
}

function legend() {
  return h(
    "p",
    { class: "legend" },
    ["model", "tool", "code", "other", "failed", "running", "replayed"].map((word) => h("span", {}, h("span", { class: `swatch ${word}` }), word)),
  );
}

// A page that is live: it asks again and again, says when it cannot, and comes back by itself.

import { fill, h } from "./dom.js";
import { clock } from "./times.js";

const SLOWEST_MS = 15_000;

/**
 * Keep a page fresh.
 * @param {(signal: AbortSignal) => Promise<void>} refresh Asks and shows; throws a Failure.
 * @param {number} [everyMs] The pause between two looks.
 * @returns {{now: () => Promise<void>, stop: () => void}} `now` looks at once, for instance after
 *   a deed or another filter; after `stop` this look is the last.
 */
export function live(refresh, everyMs = 2_000) {
  let timer = 0;
  let going = null;
  let failures = 0;
  let stopped = false;

  async function look() {
    clearTimeout(timer);
    going?.abort();
    const mine = (going = new AbortController());
    try {
      await refresh(mine.signal);
      if (mine.signal.aborted) return;
      failures = 0;
      fresh();
    } catch (problem) {
      if (mine.signal.aborted) return;
      failures += 1;
      stale(problem, look);
      // A defect of a page is for the console as well; a failure of a server is not.
      if (problem.status === undefined) console.error(problem);
    }
    if (!stopped) timer = setTimeout(look, Math.min(everyMs * 2 ** failures, Math.max(SLOWEST_MS, everyMs)));
  }

  // Nobody looks at a hidden page; who comes back sees what is, at once.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) clearTimeout(timer);
    else if (!stopped) look();
  });
  void look();
  return {
    now: look,
    stop: () => {
      stopped = true;
      clearTimeout(timer);
    },
  };
}

let lastSeen = 0;

function fresh() {
  lastSeen = Date.now();
  document.body.dataset.live = "yes";
  const state = document.getElementById("state");
  if (state) fill(state, h("span", { class: "dot good" }), `live, ${clock(lastSeen)}`);
  document.getElementById("trouble")?.replaceChildren();
}

function stale(problem, again) {
  document.body.dataset.live = "no";
  const state = document.getElementById("state");
  if (state) fill(state, h("span", { class: "dot bad" }), "not live");
  const trouble = document.getElementById("trouble");
  if (!trouble) return;
  const since = lastSeen ? `What you see is as of ${clock(lastSeen)}. ` : "";
  const words = problem.message || "Something is wrong with this page.";
  fill(
    trouble,
    h(
      "div",
      { class: "banner bad" },
      h("p", {}, h("strong", {}, words), ` ${since}It is asked again by itself.`),
      h("button", { type: "button", on: { click: () => again() } }, "ask now"),
    ),
  );
}

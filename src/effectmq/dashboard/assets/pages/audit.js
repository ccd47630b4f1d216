// Who did what.

import { api } from "../lib/api.js";
import { fill, h } from "../lib/dom.js";
import { tag } from "../lib/links.js";
import { live } from "../lib/live.js";
import { table } from "../lib/table.js";
import { count, short } from "../lib/text.js";
import { moment, span } from "../lib/times.js";

const EVERY_MS = 5_000;

export async function show(page) {
  const lines = table(
    "Audit",
    [
      { title: "when", cell: (line) => moment(line.began_ms) },
      { title: "who", cell: (line) => short(line.who, 60) },
      { title: "what", cell: (line) => tag(line.action, line.action === "purge" ? "bad" : "") },
      { title: "chosen", cell: (line) => h("span", { class: "mono" }, short(JSON.stringify(line.choice), 300)), class: "wide" },
      { title: "became", cell: became, class: "wide" },
      { title: "took", cell: (line) => (line.ended_ms ? span((line.ended_ms - line.began_ms) / 1000) : tag("goes on, or was interrupted", "warn")), class: "num" },
    ],
    {
      key: (line) => line.id,
      empty: () => [h("strong", {}, "Nobody has done anything yet."), "A replay, an edit, a purge, a cancel and an answer leave a line here."],
    },
  );
  fill(page, h("div", { class: "head" }, h("h1", {}, "Audit"), h("span", { class: "dim" }, "who did what, the newest first")), h("section", { class: "panel" }, lines.element));
  live(async (signal) => {
    lines.show((await api.get("/dead-letters/audit", { query: { limit: 100 }, signal })).lines);
  }, EVERY_MS);
}

function became(line) {
  const report = line.report;
  if (!report) return h("span", { class: "dim" }, "–");
  if (report.interrupted) return h("span", { class: "bad" }, "interrupted");
  const parts = ["done", "skipped", "failed", "gone"].filter((name) => report[name]).map((name) => `${count(report[name])} ${name}`);
  return [parts.join(", ") || "nothing", report.stopped ? h("span", { class: "bad" }, `: ${short(report.stopped, 200)}`) : ""];
}

// The plan of exchanges, queues and bindings, against what is there.

import { api } from "../lib/api.js";
import { fill, h } from "../lib/dom.js";
import { tag } from "../lib/links.js";
import { live } from "../lib/live.js";
import { table } from "../lib/table.js";
import { many, short } from "../lib/text.js";

const EVERY_MS = 10_000;

export async function show(page) {
  const summary = h("div");
  const rows = table(
    "Topology",
    [
      { title: "what", cell: (row) => row.object },
      { title: "name", cell: (row) => h("span", { class: "mono big" }, short(row.name, 120)), class: "wide" },
      { title: "state", cell: (row) => tag(row.state) },
      { title: "arguments", cell: (row) => h("span", { class: "mono dim" }, Object.entries(row.arguments).map(([name, value]) => `${name}=${value}`).join("  ")), class: "wide" },
    ],
    { key: (row) => `${row.object} ${row.name}`, empty: () => [h("strong", {}, "There is no plan.")] },
  );
  fill(page, h("div", { class: "head" }, h("h1", {}, "Topology"), h("span", { class: "dim" }, "the plan against what is there")), summary, h("section", { class: "panel" }, rows.element));

  live(async (signal) => {
    const report = await api.get("/topology", { signal });
    fill(
      summary,
      report.missing
        ? h("div", { class: "banner warn" }, h("p", {}, h("strong", {}, `${many(report.missing, "object")} of the plan ${report.missing === 1 ? "is" : "are"} not there. `), "That is well for kinds that no worker carries out: workers declare what they need when they start. To have all: effectmq topology apply"))
        : h("div", { class: "banner good" }, h("p", {}, "Everything of the plan is there, as far as can be seen.")),
    );
    rows.show([...report.rows].sort((a, b) => (a.state === "missing" ? 0 : 1) - (b.state === "missing" ? 0 : 1)));
  }, EVERY_MS);
}

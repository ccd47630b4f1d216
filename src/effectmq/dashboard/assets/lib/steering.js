// Pausing, resuming, draining: what is asked of workers while they run, and who heard.

import { api } from "./api.js";
import { dialog, doing, note } from "./dialog.js";
import { h } from "./dom.js";
import { many, short } from "./text.js";

/**
 * A button that pauses or resumes.
 * @param {{routes?: string[], workers?: string[]}} target What is meant.
 * @param {boolean} isPaused Whether it is paused now.
 * @param {string} name How it is called.
 * @param {() => unknown} after Called when it was done.
 */
export function pauseButton(target, isPaused, name, after) {
  return h(
    "button",
    {
      type: "button",
      "aria-label": `${isPaused ? "resume" : "pause"} ${name}`,
      "data-paused": String(isPaused),
      on: {
        click: async (event) => {
          if (isPaused) await doing(event.currentTarget, null, () => steer("resume", target));
          else await ask("pause", target, name, "Messages wait in the queue; what runs goes on.");
          await after();
        },
      },
    },
    isPaused ? "resume" : "pause",
  );
}

/** Ask why, then do it. */
export function ask(word, target, name, meaning) {
  return dialog(`${word[0].toUpperCase()}${word.slice(1)} ${name}`, (close) => {
    const why = h("input", { name: "why", maxlength: 300, autocomplete: "off", autofocus: true });
    const slots = word === "concurrency" && h("input", { name: "slots", type: "number", min: 1, max: 65535, required: true });
    const place = h("div", { "aria-live": "polite" });
    const go = h("button", { class: word === "drain" ? "danger" : "main" }, word === "concurrency" ? "change" : word);
    return [
      h(
        "form",
        {
          on: {
            submit: async (event) => {
              event.preventDefault();
              const more = slots ? { slots: Number(slots.value) } : { why: why.value };
              const answer = await doing(go, place, () => steer(word, { ...target, ...more }));
              if (answer) close(answer);
            },
          },
        },
        h("p", {}, meaning),
        slots ? h("label", { class: "field" }, "effects of a route that run at a time", slots) : h("label", { class: "field" }, "why, for the others", why),
        place,
        h("div", { class: "actions" }, h("button", { type: "button", on: { click: () => close() } }, "close"), go),
      ),
    ];
  });
}

async function steer(word, body) {
  const answer = await api.post(`/workers/${word}`, body);
  const { words, good } = heard(answer);
  note(words, good ? "good" : "warn");
  return answer;
}

/** Who heard, and what each did, in a sentence. */
function heard({ answers, silent, changed, unknown }) {
  const did = new Map();
  for (const one of answers) did.set(one.did, (did.get(one.did) ?? 0) + 1);
  const parts = [...did].map(([what, number]) => `${many(number, "worker")} ${what.replaceAll("_", " ")}`);
  const refused = answers.find((one) => one.did === "refused" && one.detail);
  const words = [
    `${parts.join(", ") || (changed.length ? "It is noted for workers that start later" : "No worker answered")}.`,
    silent ? `${many(silent, "worker")} did not answer.` : "",
    unknown.length ? `Nobody is called ${short(unknown.join(", "), 100)}.` : "",
    refused ? short(refused.detail, 200) : "",
  ];
  return { words: words.filter(Boolean).join(" "), good: !silent && !unknown.length && !refused };
}

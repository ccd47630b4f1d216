// Dialogs, and short notes of what was done.

import { byId, fill, h } from "./dom.js";

/**
 * Open a dialog.
 * @param {string} title Its heading.
 * @param {(close: (value?: unknown) => void) => Array} content Makes what is in it.
 * @returns {Promise<unknown>} What `close` was called with; undefined when it was left.
 */
export function dialog(title, content, { wide = false } = {}) {
  return new Promise((resolve) => {
    let value;
    const close = (given) => {
      value = given;
      box.close();
    };
    const box = h(
      "dialog",
      {
        "aria-labelledby": "dialog-title",
        class: wide ? "wide" : "",
        on: {
          close: () => {
            box.remove();
            resolve(value);
          },
        },
      },
      h(
        "header",
        {},
        h("h2", { id: "dialog-title" }, title),
        h("button", { type: "button", class: "quiet", "aria-label": "close", on: { click: () => close() } }, "×"),
      ),
      content(close),
    );
    document.body.append(box);
    box.showModal();
  });
}

/** Say what was done, for some seconds, also to who cannot see it. */
export function note(words, kind = "good") {
  const place = byId("notes");
  const one = h("p", { class: `note ${kind}` }, words);
  place.append(one);
  setTimeout(() => one.remove(), kind === "bad" ? 15_000 : 6_000);
}

/** Do something behind a button, which waits meanwhile; a failure is told beside it. */
export async function doing(button, where, act) {
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  if (where) fill(where);
  try {
    return await act();
  } catch (problem) {
    if (where) fill(where, h("p", { class: "bad", role: "alert" }, problem.message));
    else note(problem.message, "bad");
    return undefined;
  } finally {
    button.disabled = false;
    button.removeAttribute("aria-busy");
  }
}

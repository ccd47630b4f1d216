// Pages of a list that goes on: the API says where the next one begins.

import { h } from "./dom.js";

/** @param {() => unknown} onTurn Called when another page is wanted. */
export function pager(onTurn) {
  const before = [];
  let next = null;
  const newer = h("button", { type: "button" }, "newer");
  const older = h("button", { type: "button" }, "older");
  const pages = {
    cursor: null,
    element: h("footer", { class: "pager", hidden: true }, newer, older),
    /** How many pages were turned. */
    get depth() {
      return before.length;
    },
    get last() {
      return next === null;
    },
    /** Tell where the page after this one begins; null when there is none. */
    turned(following) {
      next = following;
      newer.disabled = !before.length;
      older.disabled = next === null;
      pages.element.hidden = !before.length && next === null;
    },
    /** Back to the first page, for another question. */
    reset() {
      before.length = 0;
      pages.cursor = null;
    },
  };
  older.addEventListener("click", () => {
    before.push(pages.cursor);
    pages.cursor = next;
    void onTurn();
  });
  newer.addEventListener("click", () => {
    pages.cursor = before.pop() ?? null;
    void onTurn();
  });
  return pages;
}

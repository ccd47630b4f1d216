// Tables that are read at night: one look for all of them, refreshed without losing the place.

import { fill, h, reconcile } from "./dom.js";

/**
 * A table.
 * @param {string} caption What it lists, for who cannot see it.
 * @param {{title: string, cell: (row) => unknown, class?: string, quiet?: boolean, known?: (row) => boolean, head?: () => Node}[]} columns
 *   `quiet` titles are only spoken; `head` makes what stands in place of a title; a column with
 *   `known` is there when that is true of some row.
 * @param {{key: (row) => string, empty: () => Array, row?: (row) => object}} how `key` names a row,
 *   `empty` makes what stands there instead of rows, `row` has attributes of a row.
 * @returns {{element: Element, show: (rows: Array) => void}}
 */
export function table(caption, columns, { key, empty, row: attributes = () => ({}) }) {
  const body = h("tbody");
  const heads = columns.map((column) =>
    column.head
      ? h("td", { class: column.class }, column.head())
      : h("th", { scope: "col", class: column.class }, column.quiet ? h("span", { class: "spoken" }, column.title) : column.title),
  );
  const nothing = h("div", { class: "empty", hidden: true });
  const grid = h(
    "table",
    {},
    h("caption", { class: "spoken" }, caption),
    h("thead", {}, h("tr", {}, heads)),
    body,
  );
  const scroller = h("div", { class: "scroller", role: "region", "aria-label": caption, tabindex: "0" }, grid);
  const show = (rows) => {
    scroller.hidden = rows.length === 0;
    nothing.hidden = rows.length > 0;
    if (!rows.length) fill(nothing, empty());
    const there = columns.map((column) => !column.known || rows.some(column.known));
    heads.forEach((head, index) => {
      head.hidden = !there[index];
    });
    reconcile(
      body,
      rows.map((row) =>
        h(
          "tr",
          { "data-key": key(row), ...attributes(row) },
          columns.map((column, index) => there[index] && h("td", { class: column.class }, [column.cell(row)].flat())),
        ),
      ),
    );
  };
  return { element: h("div", { class: "table" }, scroller, nothing), show };
}

/** Names and values, one line each; those without a value are left out. */
export function pairs(rows) {
  return h(
    "dl",
    {},
    rows
      .filter(([, value]) => value !== null && value !== undefined && value !== "")
      .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
}

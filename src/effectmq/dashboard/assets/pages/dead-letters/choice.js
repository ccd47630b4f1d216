// Which dead letters are meant: the filter of the page, or those that were chosen one by one.

import * as address from "../../lib/address.js";
import { many, short } from "../../lib/text.js";

/** What letters are filtered by: the name in the address and in facets, and in a choice. */
export const FILTERS = {
  reason: "reasons",
  kind: "kinds",
  tool: "tools",
  model: "models",
  error: "errors",
  route: "routes",
  code: "codes",
  session: "sessions",
};

export class Choice {
  constructor() {
    const { text, ...filter } = address.read([...Object.keys(FILTERS), "text"]);
    this.filter = filter;
    this.text = text[0] ?? "";
    this.ids = new Set();
  }

  has(name, value) {
    return this.filter[name].includes(value);
  }

  toggle(name, value) {
    const kept = this.filter[name].filter((one) => one !== value);
    this.filter[name] = kept.length < this.filter[name].length ? kept : [...kept, value];
    this.changed();
  }

  clear() {
    for (const name of Object.keys(FILTERS)) this.filter[name] = [];
    this.text = "";
    this.changed();
  }

  changed() {
    this.ids.clear();
    address.write({ ...this.filter, text: this.text });
  }

  get filtered() {
    return Boolean(this.text) || Object.values(this.filter).some((values) => values.length);
  }

  /** As a query of the API. */
  get query() {
    return { ...this.filter, text: this.text };
  }

  /** As the API takes it with a deed. */
  get body() {
    if (this.ids.size) return { ids: [...this.ids] };
    const names = Object.entries(FILTERS).filter(([name]) => this.filter[name].length);
    return {
      ...Object.fromEntries(names.map(([name, member]) => [member, this.filter[name]])),
      ...(this.text ? { text: this.text } : {}),
      ...(this.filtered ? {} : { all: true }),
    };
  }

  /** In words, for a dialog. */
  words(total) {
    if (this.ids.size) return `${many(this.ids.size, "letter")} that you chose`;
    if (!this.filtered) return `all ${many(total, "letter")}`;
    const parts = Object.entries(this.filter)
      .filter(([, values]) => values.length)
      .map(([name, values]) => `${name} ${values.map((one) => short(one, 40) || "(none)").join(" or ")}`);
    if (this.text) parts.push(`error with “${short(this.text, 40)}”`);
    return `${many(total, "letter")} with ${parts.join(", ")}`;
  }

  count(total) {
    return this.ids.size || total;
  }
}

// Texts of strangers: what cannot be seen, or turns the line around, is shown as its number; what
// is very long is cut, with a way to see all.

// Controls but tab and line feed, marks that turn text around or hide in it, halves of pairs, tags.
const HIDDEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]|\p{Cs}/gu;

/** The most characters that are shown of one text before somebody asks for more. */
export const MOST = 2000;

/** A text with everything that hides in it made visible. */
export function shown(text) {
  return text.replace(HIDDEN, (one) => `\\u{${one.codePointAt(0).toString(16)}}`);
}

/** A text on one line, at most so long. */
export function short(text, most = 80) {
  const line = String(text ?? "").slice(0, most * 4).replace(/\s+/g, " ").trim();
  return line.length > most ? `${line.slice(0, most - 1)}…` : line;
}

const COUNT = new Intl.NumberFormat();

/** A number as the reader writes it. */
export function count(value) {
  return value === null || value === undefined ? "–" : COUNT.format(Number(value));
}

/** US dollars, small ones with two digits that mean something; nothing where no price is known. */
export function dollars(value) {
  const usd = Number(value ?? 0);
  if (!usd) return "";
  const digits = usd < 1 ? { maximumSignificantDigits: 2 } : {};
  return new Intl.NumberFormat(undefined, { style: "currency", currency: "USD", ...digits }).format(usd);
}

/** A number of things, with their name. */
export function many(value, one, more = `${one}s`) {
  return `${count(value)} ${Number(value) === 1 ? one : more}`;
}

/** A rate per second, with as many digits as mean something. */
export function rate(value) {
  if (value === null || value === undefined) return "–";
  return value >= 10 || value === 0 ? count(Math.round(value)) : value.toPrecision(2);
}

/** A size in bytes. */
export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB"];
  let size = Number(value);
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${unit && size < 10 ? size.toFixed(1) : Math.round(size)} ${units[unit]}`;
}

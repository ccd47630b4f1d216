// JSON of payloads, to the digit: a number that JavaScript would write differently (1.0, or one of
// 19 digits) is kept as it was sent, because the hash of an effect depends on how it is written.

/** A number as it stands in a document. */
export class Numeral {
  constructor(source) {
    this.source = source;
  }
  valueOf() {
    return Number(this.source);
  }
  toString() {
    return this.source;
  }
}

const MARK = "\u0000number:";
const NUMBER = /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y;

/** Parse a document; unusual numbers become `Numeral`. Throws SyntaxError as JSON.parse does. */
export function parse(text) {
  JSON.parse(text);
  return JSON.parse(marked(text), (_, value) =>
    typeof value === "string" && value.startsWith(MARK) ? new Numeral(value.slice(MARK.length)) : value,
  );
}

function marked(text) {
  const parts = [];
  let done = 0;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === 34) {
      at = endOfString(text, at);
    } else if (code === 45 || (code >= 48 && code <= 57)) {
      NUMBER.lastIndex = at;
      const [source] = NUMBER.exec(text);
      if (String(Number(source)) !== source) {
        parts.push(text.slice(done, at), JSON.stringify(MARK + source));
        done = at + source.length;
      }
      at += source.length - 1;
    }
  }
  return parts.length ? parts.join("") + text.slice(done) : text;
}

function endOfString(text, start) {
  let at = start;
  let slashes;
  do {
    at = text.indexOf('"', at + 1);
    slashes = 0;
    while (text[at - 1 - slashes] === "\\") slashes += 1;
  } while (slashes % 2);
  return at;
}

/** Write a document with two spaces a level, numbers as they were. */
export function write(value, indent = "") {
  const deeper = `${indent}  `;
  if (value instanceof Numeral) return value.source;
  if (Array.isArray(value)) {
    if (!value.length) return "[]";
    return `[\n${value.map((one) => deeper + write(one, deeper)).join(",\n")}\n${indent}]`;
  }
  if (value !== null && typeof value === "object") {
    const members = Object.entries(value);
    if (!members.length) return "{}";
    const lines = members.map(([key, one]) => `${deeper}${JSON.stringify(key)}: ${write(one, deeper)}`);
    return `{\n${lines.join(",\n")}\n${indent}}`;
  }
  return JSON.stringify(value);
}

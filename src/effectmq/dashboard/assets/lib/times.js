// Times in the reader's zone, and how long ago.

import { h } from "./dom.js";
import { now } from "./now.js";

const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hour12: false,
});
const ZONE = new Intl.DateTimeFormat(undefined, { timeZoneName: "short" });

/** The name of the reader's zone. */
export function zone() {
  return ZONE.formatToParts().find((part) => part.type === "timeZoneName").value;
}

/** A span of seconds, in its two largest units. */
export function span(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "–";
  const s = Math.max(0, Number(seconds));
  if (s < 0.9995) return `${Math.round(s * 1000)} ms`;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.round(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${Math.round(s % 60)} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

// Steps of a scale, in milliseconds; the unit of a scale is that of its step.
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAYS = 24 * HOUR;
const UNITS = [
  { ms: DAYS, word: "d" },
  { ms: HOUR, word: "h" },
  { ms: MINUTE, word: "min" },
  { ms: SECOND, word: "s" },
  { ms: 1, word: "ms" },
];
const STEPS = [
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500],
  ...[1, 2, 5, 10, 20, 30].map((n) => n * SECOND),
  ...[1, 2, 5, 10, 20, 30].map((n) => n * MINUTE),
  ...[1, 2, 4, 6, 12].map((n) => n * HOUR),
];
const MOST_STEPS = 6;

/** Equal steps over so many milliseconds, from 0, all in one unit. */
export function ticks(length) {
  const step = STEPS.find((each) => length / each <= MOST_STEPS) ?? Math.ceil(length / DAYS / MOST_STEPS) * DAYS;
  const unit = UNITS.find((each) => each.ms <= step);
  return Array.from({ length: Math.floor(length / step) + 1 }, (_, at) => ({
    ms: at * step,
    words: `${((at * step) / unit.ms).toLocaleString()} ${unit.word}`,
  }));
}

/** Roughly, for a column: one unit. */
export function about(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const s = Math.max(0, Number(seconds));
  if (s < 1) return "now";
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} d`;
}

/** How long ago a moment was; the whole date stands in its title. */
export function ago(ms) {
  if (!ms) return h("span", { class: "dim" }, "–");
  const date = new Date(Number(ms));
  return h(
    "time",
    { datetime: date.toISOString(), title: `${DAY.format(date)} ${zone()}` },
    about((now() - Number(ms)) / 1000),
  );
}

/** A moment in full. */
export function moment(ms) {
  if (!ms) return h("span", { class: "dim" }, "–");
  const date = new Date(Number(ms));
  return h("time", { datetime: date.toISOString(), title: zone() }, DAY.format(date));
}

/** A moment of today. */
export function clock(ms) {
  return CLOCK.format(new Date(Number(ms)));
}

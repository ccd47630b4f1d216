// How far an effect is, as its handler says: a bar with its note. The note is a stranger's text.

import { fill, h } from "./dom.js";
import { count, short, shown } from "./text.js";

const MOST_OF_A_NOTE = 300;

/** Progress in words, as in "3 of 12 (25 %): page 3"; nothing for none. */
export function progressWords(progress) {
  if (!progress) return "";
  const of = progress.total === null ? "" : ` of ${count(progress.total)}`;
  const share = shareOf(progress);
  // Not rounded: what is not done must not look so.
  const percent = share === null ? "" : ` (${Math.floor(share * 100)} %)`;
  const note = progress.note ? `: ${short(shown(progress.note), MOST_OF_A_NOTE)}` : "";
  const whose = progress.former ? ", of an earlier run" : "";
  return `${count(progress.done)}${of}${percent}${note}${whose}`;
}

/** The part that is done, from 0 to 1; null when that is not known. */
function shareOf(progress) {
  const total = Number(progress.total ?? 0);
  return total > 0 ? Math.min(1, Number(progress.done) / total) : null;
}

/**
 * A bar that is hidden until there is something to show.
 *
 * @returns {{place: Element, show: (progress: object | null) => void}} `show` takes progress as the API has it.
 */
export function progressBar() {
  const bar = h("progress", { max: 1, "aria-label": "progress" });
  const words = h("span", { class: "dim", "aria-live": "off" });
  const place = h("p", { class: "far", hidden: true }, bar, words);
  return {
    place,
    show: (progress) => {
      place.hidden = !progress;
      if (!progress) return;
      const share = shareOf(progress);
      // Without a value the bar says that it goes on, and not how far it is.
      if (share === null) bar.removeAttribute("value");
      else bar.value = share;
      fill(words, progressWords(progress));
    },
  };
}

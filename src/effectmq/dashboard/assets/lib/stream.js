// What an effect streams while it runs: how far it is, and text that grows, kept to its last characters. A
// page has one stream at a time, because a browser opens few lines to one server.

import { fill, h } from "./dom.js";
import { progressBar } from "./progress.js";
import { shown } from "./text.js";

const GAP = " […] ";

/**
 * @param {number} most How many characters are shown, the last ones.
 * @returns {{place: Element, follow: (id: string) => boolean, recorded: (progress: object | null) => void}}
 *   `place` is hidden until there is something; `follow` shows the stream of an effect, or of none for "", and
 *   returns whether it is another; `recorded` shows what its record says, until the stream says more.
 */
export function streamed(most) {
  const words = h("pre", { class: "stream", tabindex: "0", role: "region", "aria-label": "stream" });
  const trouble = h("p", { class: "dim" });
  const bar = progressBar();
  const place = h("div", { hidden: true }, bar.place, words, trouble);
  let wanted = "";
  let line = null;
  let text = "";
  let attempt = 0;
  let next = 0;
  let told = false;

  words.hidden = true;

  function tell(progress) {
    told = true;
    bar.show(progress);
    place.hidden = false;
  }

  function say(piece) {
    if (piece.attempt !== attempt) {
      text = "";
      // Another attempt begins anew.
      if (attempt) bar.show(null);
    }
    // What came before the page was opened, or was lost, is not there.
    if (piece.number !== (piece.attempt === attempt ? next : 0)) text += GAP;
    attempt = piece.attempt;
    next = piece.number + piece.chunks;
    if (!piece.text) return;
    words.hidden = false;
    text = (text + piece.text).slice(-most);
    const down = words.scrollHeight - words.scrollTop - words.clientHeight < 30;
    words.textContent = shown(text);
    trouble.textContent = "";
    place.hidden = false;
    // Who has scrolled up reads on there.
    if (down) words.scrollTop = words.scrollHeight;
  }

  function close() {
    line?.close();
    line = null;
  }

  function open() {
    if (line || !wanted || document.hidden) return;
    line = new EventSource(`/api/v1/effects/${encodeURIComponent(wanted)}/stream`);
    line.addEventListener("text", (event) => say(JSON.parse(event.data)));
    line.addEventListener("progress", (event) => tell(JSON.parse(event.data)));
    line.addEventListener("trouble", (event) => {
      fill(trouble, JSON.parse(event.data).detail);
      place.hidden = false;
    });
    line.addEventListener("error", () => {
      // A lost line is made again by the browser; one that was refused is not.
      if (line?.readyState !== EventSource.CLOSED) return;
      close();
      fill(trouble, "What it streams cannot be read at the moment; load the page again to try.");
      place.hidden = false;
    });
    // Not asked for again: how it ended is on the page in a moment.
    line.addEventListener("end", () => line?.close());
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  return {
    place,
    follow: (id) => {
      if (id === wanted) return false;
      close();
      wanted = id;
      text = "";
      attempt = 0;
      told = false;
      bar.show(null);
      words.hidden = true;
      place.hidden = true;
      fill(words);
      fill(trouble);
      open();
      return true;
    },
    recorded: (progress) => {
      if (told || !progress || !wanted) return;
      bar.show(progress);
      place.hidden = false;
    },
  };
}

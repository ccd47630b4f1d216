// The server's clock: times of effects are its, and a reader's clock may be minutes off.

let ahead = 0;

/** An answer said what time it is there. */
export function told(ms) {
  ahead = Number(ms) - Date.now();
}

/** The time at the server, Unix milliseconds. */
export function now() {
  return Date.now() + ahead;
}

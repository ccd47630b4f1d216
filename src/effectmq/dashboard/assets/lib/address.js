// What a page shows stands in its address, so that it can be sent to somebody, and survives a reload.

/** The values of some members of the address, by name. */
export function read(names) {
  const words = new URLSearchParams(location.search);
  return Object.fromEntries(names.map((name) => [name, words.getAll(name).filter(Boolean)]));
}

/** Write members into the address, without loading the page again. */
export function write(values) {
  const words = new URLSearchParams();
  for (const [name, chosen] of Object.entries(values)) {
    for (const one of [chosen].flat()) if (one) words.append(name, one);
  }
  history.replaceState(null, "", words.size ? `?${words}` : location.pathname);
}

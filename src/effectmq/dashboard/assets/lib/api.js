// The HTTP API: one way to ask, and one kind of failure, which is a sentence.

import { parse } from "./exact.js";
import { told } from "./now.js";

const ROOT = "/api/v1";
const PATIENCE_MS = 30_000;

/** What went wrong, as a sentence for the reader. */
export class Failure extends Error {
  constructor(sentence, { status = 0, detail = null } = {}) {
    super(sentence);
    this.status = status;
    this.detail = detail;
  }
  /** Whether the same question may be answered in a moment. */
  get passes() {
    return this.status === 0 || this.status >= 500 || this.status === 429;
  }
}

/** The path of a question, without members that are empty. */
export function path(where, query = {}) {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of [value].flat()) {
      if (one !== undefined && one !== null && one !== "" && one !== false) words.append(name, one);
    }
  }
  return words.size ? `${where}?${words}` : where;
}

async function ask(method, where, { query, body, signal, exact = false, mayBeRefused = false, patience = PATIENCE_MS } = {}) {
  const limits = [AbortSignal.timeout(patience), ...(signal ? [signal] : [])];
  let answer;
  let text;
  try {
    answer = await fetch(ROOT + path(where, query), {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body),
      signal: AbortSignal.any(limits),
      credentials: "same-origin",
      redirect: "error",
    });
    text = await answer.text();
  } catch (problem) {
    if (signal?.aborted) throw problem;
    throw new Failure(
      problem.name === "TimeoutError"
        ? `The dashboard's server did not answer within ${patience / 1000} s.`
        : "The dashboard's server cannot be reached.",
    );
  }
  if (answer.status === 401 && !mayBeRefused) {
    location.assign(path("/login", { next: location.pathname + location.search }));
  }
  const document = read(text, exact, answer);
  if (!answer.ok) throw new Failure(sentence(document, answer), { status: answer.status, detail: document });
  if (document?.now_ms) told(document.now_ms);
  return document;
}

function read(text, exact, answer) {
  if (!text) return null;
  try {
    return exact ? parse(text) : JSON.parse(text);
  } catch {
    if (!answer.ok) return null;
    throw new Failure("The server's answer is not JSON; is something between it and this browser?");
  }
}

function sentence(document, answer) {
  const said = document?.message ?? document?.error?.message ?? document?.error ?? document?.detail;
  if (typeof said === "string" && said) return said;
  if (Array.isArray(said) && said[0]?.msg) return said.map((one) => `${one.loc?.at(-1)}: ${one.msg}`).join("; ");
  return `The server answered ${answer.status} ${answer.statusText}.`;
}

export const api = {
  get: (where, options) => ask("GET", where, options),
  post: (where, body, options) => ask("POST", where, { ...options, body: body ?? {} }),
  delete: (where, options) => ask("DELETE", where, options),
};

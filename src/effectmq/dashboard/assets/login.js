// Changing a token for a session, whose cookie no script can read.

import { api } from "./lib/api.js";
import { doing } from "./lib/dialog.js";
import { byId } from "./lib/dom.js";

const form = byId("login");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  await doing(form.querySelector("button"), byId("problem"), async () => {
    await api.post("/session", { token: form.elements.token.value }, { mayBeRefused: true });
    location.assign(wanted());
  });
});

// Only to a page of ours, whatever the link says that led here.
function wanted() {
  const next = new URLSearchParams(location.search).get("next") ?? "/";
  if (!URL.canParse(next, location.origin)) return "/";
  const url = new URL(next, location.origin);
  // The whole address: a path alone may begin with two slashes, and then names another host.
  return url.origin === location.origin && url.pathname !== "/login" ? url.href : "/";
}

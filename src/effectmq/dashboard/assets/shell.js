// What every page has; then the module of the page itself.

import { api } from "./lib/api.js";
import { byId } from "./lib/dom.js";
import { listenForKeys, showKeys } from "./lib/keys.js";

listenForKeys();
byId("keys").addEventListener("click", showKeys);
document.getElementById("sign-out")?.addEventListener("click", async () => {
  await api.delete("/session");
  location.assign("/login");
});

const page = await import(`./pages/${document.body.dataset.page}.js`);
page.show(byId("page"));

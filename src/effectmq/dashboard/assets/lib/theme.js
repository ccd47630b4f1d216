// Light or dark: as the system says, unless the reader chose. Loaded before the page is painted.

(() => {
  const NEXT = { auto: "dark", dark: "light", light: "auto" };
  const read = () => {
    try {
      return localStorage.getItem("effectmq-theme") || "auto";
    } catch {
      return "auto";
    }
  };
  const apply = (theme) => {
    document.documentElement.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (button) button.textContent = `theme: ${theme}`;
  };
  apply(read());
  document.addEventListener("DOMContentLoaded", () => {
    apply(read());
    document.getElementById("theme")?.addEventListener("click", () => {
      const theme = NEXT[document.documentElement.dataset.theme];
      try {
        localStorage.setItem("effectmq-theme", theme);
      } catch {
        // Without storage it holds for this page.
      }
      apply(theme);
    });
  });
})();

/*
 * Runs before the first paint, so that a remembered theme does not flash.
 * A classic script on purpose: modules wait for the document. Storage may be forbidden.
 */
(() => {
  try {
    const theme = JSON.parse(localStorage.getItem("gridbrush.theme") ?? "null");
    if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
  } catch {
    // Without storage, the system's preference decides.
  }
})();

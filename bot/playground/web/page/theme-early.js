/*
 * Sets a stored theme before the first paint, to avoid a flash of the other one.
 * It is a classic script because modules wait for the document. Storage may be forbidden.
 */
(() => {
  try {
    const theme = JSON.parse(localStorage.getItem("gridbrush.theme") ?? "null");
    if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
  } catch {
    // Without storage, the system's preference decides.
  }
})();

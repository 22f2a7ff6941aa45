/** Switches between dark and light; the default is the system's preference. */

import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { remembered } from "./preferences.js";

const systemDark = matchMedia("(prefers-color-scheme: dark)");

/** The current theme. */
export function currentTheme() {
  return document.documentElement.dataset.theme ?? (systemDark.matches ? "dark" : "light");
}

/** A button with the icon of the other theme: a sun for light, a moon for dark. */
export function themeToggle() {
  const button = el("button", { type: "button", class: "icon-button", testid: "theme-toggle" });
  const show = () => {
    const other = currentTheme() === "dark" ? "light" : "dark";
    button.setAttribute("aria-label", `Switch to the ${other} theme`);
    button.title = `Switch to the ${other} theme`;
    fill(button, icon(other === "light" ? "sun" : "moon"));
  };
  button.addEventListener("click", () => {
    const theme = currentTheme() === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    remembered.set("theme", theme);
    show();
  });
  systemDark.addEventListener("change", show);
  show();
  return button;
}

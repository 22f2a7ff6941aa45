/** Shows short error messages at the edge of the page. */

import { el } from "./dom.js";
import { icon } from "./icons.js";

const LIFE = 6000;
const MOST = 3;

/** @param {string} message */
export function showToast(message) {
  const box = document.getElementById("toasts");
  const toast = el("div", { class: "toast", testid: "toast" },
    icon("alert"), el("p", { text: message }),
    el("button", {
      type: "button", class: "icon-button", "aria-label": "Dismiss",
      on: { click: () => toast.remove() },
    }, icon("close")));
  while (box.children.length >= MOST) box.firstChild.remove();
  box.append(toast);
  setTimeout(() => toast.remove(), LIFE);
}

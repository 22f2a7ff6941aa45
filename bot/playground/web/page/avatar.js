/** The avatar of a member: an initial on their colour, or the Gridbrush logo for the app. */

import { cssColor, el } from "./dom.js";

const COLORS = ["#c2603f", "#3f7fa8", "#5b8a4a", "#8a5aa5", "#a8842c", "#3f8a86", "#b0527c"];

/** A constant colour for a member that has none. */
function ownColor(member) {
  const number = [...String(member.id ?? member.name ?? "")].reduce(
    (sum, sign) => (sum * 31 + sign.codePointAt(0)) % 997, 7);
  return COLORS[number % COLORS.length];
}

/** Whether dark text has more contrast on `#rrggbb`. */
function isLight(color) {
  const [red, green, blue] = [1, 3, 5].map((at) => Number.parseInt(color.slice(at, at + 2), 16));
  return red * 0.299 + green * 0.587 + blue * 0.114 > 150;
}

/**
 * @param {{id?: string, name?: string, bot?: boolean, color?: number | string}} member
 * @param {"normal" | "small" | "tiny"} [size]
 */
export function avatar(member, size = "normal") {
  const node = el("span", { class: `avatar avatar-${size}`, "aria-hidden": "true" });
  if (member.bot) {
    node.classList.add("avatar-bot");
    node.append(el("img", { src: "/page/mark.svg", alt: "" }));
    return node;
  }
  node.textContent = (member.name ?? "?").trim().slice(0, 1).toUpperCase() || "?";
  const color = cssColor(member.color) ?? ownColor(member);
  node.style.backgroundColor = color;
  node.classList.toggle("on-light", isLight(color));
  return node;
}

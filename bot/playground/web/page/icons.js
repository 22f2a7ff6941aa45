/** Builds the page's icons as SVG nodes of 24 × 24 units. */

const PATHS = {
  hash: ["M9.5 4 7.5 20", "M16.5 4l-2 16", "M4.5 9.2h15.5", "M4 14.8h15.5"],
  thread: ["M4 5h16", "M8 11h12", "M12 17h8", "M4 8.5V15a2 2 0 0 0 2 2h2.5"],
  at: ["M12 12m-3.8 0a3.8 3.8 0 1 0 7.6 0a3.8 3.8 0 1 0-7.6 0",
    "M15.8 8.5v5c0 3.2 4.7 3 4.7-1.7a8.5 8.5 0 1 0-3.5 7"],
  menu: ["M4 7h16", "M4 12h16", "M4 17h10"],
  close: ["M6 6l12 12", "M18 6 6 18"],
  send: ["M4.5 12h7", "M4.5 12 3.5 4.8 20.5 12 3.5 19.2z"],
  plus: ["M12 5v14", "M5 12h14"],
  minus: ["M5 12h14"],
  more: ["M5.5 12h.01", "M12 12h.01", "M18.5 12h.01"],
  sun: ["M12 12m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0", "M12 2.5v2", "M12 19.5v2", "M2.5 12h2",
    "M19.5 12h2", "M5.3 5.3l1.4 1.4", "M17.3 17.3l1.4 1.4", "M5.3 18.7l1.4-1.4",
    "M17.3 6.7l1.4-1.4"],
  moon: ["M20 14.2A8.3 8.3 0 1 1 9.8 4a6.6 6.6 0 0 0 10.2 10.2z"],
  shield: ["M12 3l7.5 2.8v5.4c0 4.6-3 8-7.5 9.8-4.5-1.8-7.5-5.2-7.5-9.8V5.8z",
    "M8.8 11.8l2.3 2.3 4.2-4.5"],
  chevron: ["M7 10l5 5 5-5"],
  down: ["M12 5v14", "M6 13l6 6 6-6"],
  left: ["M15 5l-7 7 7 7"],
  right: ["M9 5l7 7-7 7"],
  external: ["M14 4.5h5.5V10", "M19.5 4.5 11 13", "M18 14v5.5H4.5V6H10"],
  eye: ["M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12z",
    "M12 12m-2.8 0a2.8 2.8 0 1 0 5.6 0a2.8 2.8 0 1 0-5.6 0"],
  file: ["M6 3.5h8l4.5 4.5v12.5H6z", "M13.5 3.5V8.5h5"],
  clip: ["M19 11.5l-7.7 7.7a4.7 4.7 0 0 1-6.6-6.6l8-8a3.1 3.1 0 0 1 4.4 4.4l-8 8a1.6 1.6 0 0 1"
    + "-2.2-2.2l7.2-7.2"],
  alert: ["M12 3.5 21.5 20h-19z", "M12 9.5v5", "M12 17.3h.01"],
  refresh: ["M19.5 12a7.5 7.5 0 1 1-2.3-5.4", "M19.8 3.5v4.2h-4.2"],
  spark: ["M12 3l1.9 5.6L19.5 10.5l-5.6 1.9L12 18l-1.9-5.6L4.5 10.5l5.6-1.9z", "M19 16.5v4",
    "M17 18.5h4"],
  slash: ["M8 20 16 4"],
  bolt: ["M13 2.5 5 13.5h6l-1 8 8-11h-6z"],
  copy: ["M9 9h11v11H9z", "M5 15H4V4h11v1"],
};

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {string} name one of the icons above
 * @param {string} [label] for screen readers; without it the icon is decorative
 */
export function icon(name, label) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", `icon icon-${name}`);
  if (label) {
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", label);
  } else {
    svg.setAttribute("aria-hidden", "true");
  }
  for (const data of PATHS[name]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", data);
    svg.appendChild(path);
  }
  return svg;
}

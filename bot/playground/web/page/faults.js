/**
 * The panel for fault injection. Each fault shows its choices, and while it is active its
 * remaining time and a button that stops it.
 */

import { ApiError } from "./api.js";
import { el, fill, uniqueId } from "./dom.js";
import { icon } from "./icons.js";

const REFRESH_MS = 1000;

export class FaultPanel {
  #faults = [];
  #timer = 0;
  #dialog = null;
  #list = null;
  #problem = null;

  /**
   * @param {HTMLElement} place where the button goes
   * @param {import("./store.js").Store} store
   * @param {() => import("./api.js").Api} api
   */
  constructor(place, store, api) {
    this.store = store;
    this.api = api;
    this.badge = el("span", { class: "faults-badge", hidden: true });
    this.button = el("button", {
      type: "button", class: "icon-button faults-button", testid: "faults-open",
      "aria-haspopup": "dialog", on: { click: () => this.open() },
    }, icon("bolt"), this.badge);
    place.append(this.button);
    this.#show();
    store.on("world", () => this.#refresh());
  }

  open() {
    const before = document.activeElement;
    const titleId = uniqueId("faults");
    const close = () => this.#dialog.close();
    this.#list = el("div", { class: "faults" });
    this.#problem = el("p", { class: "modal-problem", role: "alert" });
    this.#dialog = el("dialog", {
      class: "modal faults-panel", testid: "faults", "aria-labelledby": titleId,
    },
    el("header", { class: "modal-head" },
      el("h2", { id: titleId, text: "Faults" }),
      el("button", {
        type: "button", class: "icon-button", "aria-label": "Close", testid: "faults-close",
        on: { click: close },
      }, icon("close"))),
    el("div", { class: "modal-body" },
      el("p", { class: "faults-lead",
        text: "Inject a fault and see how the bot handles it. This page is not affected." }),
      this.#problem,
      this.#list),
    el("footer", { class: "modal-foot" },
      el("button", {
        type: "button", class: "button button-secondary", testid: "faults-clear",
        on: { click: () => this.#send({}) },
      }, "Stop all")));
    this.#dialog.addEventListener("click", (event) => {
      if (event.target === this.#dialog) close();
    });
    this.#dialog.addEventListener("close", () => {
      this.#dialog.remove();
      this.#dialog = this.#list = this.#problem = null;
      if (before?.isConnected) before.focus({ preventScroll: true });
    });
    document.body.append(this.#dialog);
    this.#dialog.showModal();
    this.#refresh();
  }

  async #refresh() {
    await this.#load(() => this.api().faults());
  }

  async #send(change) {
    await this.#load(() => this.api().changeFaults(this.store.channelId, change));
  }

  async #load(request) {
    clearTimeout(this.#timer);
    let problem = "";
    try {
      this.#faults = await request();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      problem = error.message;
    }
    if (this.#problem) this.#problem.textContent = problem;
    this.#show();
    if (this.#faults.some(({ active }) => active)) {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#refresh(), REFRESH_MS);
    }
  }

  #show() {
    const active = this.#faults.filter((fault) => fault.active).length;
    this.badge.hidden = active === 0;
    this.badge.textContent = active;
    const label = active === 0 ? "Faults" : `Faults: ${active} active`;
    this.button.setAttribute("aria-label", label);
    this.button.title = label;
    if (this.#list === null) return;
    const focused = document.activeElement?.dataset?.faultKey;
    const groups = Map.groupBy
      ? Map.groupBy(this.#faults, ({ group }) => group)
      : this.#faults.reduce((all, fault) => {
        all.set(fault.group, [...(all.get(fault.group) ?? []), fault]);
        return all;
      }, new Map());
    fill(this.#list, [...groups].map(([group, faults]) => {
      const id = uniqueId("fault-group");
      return el("section", { "aria-labelledby": id },
        el("h3", { id, text: group }),
        el("ul", {}, faults.map((fault) => this.#row(fault))));
    }));
    if (!focused) return;
    const buttons = [...this.#list.querySelectorAll("button")];
    (buttons.find((node) => node.dataset.faultKey === focused)
      ?? buttons.find((node) => node.dataset.faultKey.startsWith(`${focused.split("/")[0]}/`)))
      ?.focus({ preventScroll: true });
  }

  #row(fault) {
    const { id, label, about, choices, active, left } = fault;
    const remaining = left === null ? "Active" : `${Math.ceil(left)} s left`;
    const button = (key, text, change, kind) => el("button", {
      type: "button", class: `button ${kind}`, testid: `fault-${id}-${key}`,
      dataset: { faultKey: `${id}/${key}` }, "aria-label": `${label}: ${text}`,
      on: { click: () => this.#send(change) },
    }, text);
    return el("li", { class: active ? "fault active" : "fault", testid: `fault-${id}` },
      el("div", { class: "fault-text" },
        el("p", { class: "fault-label", text: label }),
        el("p", { class: "fault-about", text: about })),
      el("div", { class: "fault-choices" },
        active
          ? [el("span", { class: "fault-left", text: remaining }),
            button("stop", "Stop", { id }, "button-danger")]
          : choices.map((choice) =>
            button(choice.value, choice.label, { id, choice: choice.value }, "button-secondary"))));
  }
}

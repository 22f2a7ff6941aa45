/** Shows a modal as a dialog: Escape or Cancel closes it, Submit validates and sends it. */

import { el, uniqueId } from "./dom.js";
import { icon } from "./icons.js";
import { createModalField } from "./modal-fields.js";

/**
 * @param {{custom_id: string, title: string, components: object[]}} modal
 * @param {import("./components.js").Context} context
 * @param {(makeData: (attach: (file: File) => Promise<string>) => Promise<object>)
 *   => Promise<void>} submit rejects with the error if the server rejects the submission
 */
export function openModal(modal, context, submit) {
  const before = document.activeElement;
  const fields = modal.components.map((top) => createModalField(top, context));
  const titleId = uniqueId("modal");
  const problem = el("p", { class: "modal-problem", role: "alert" });
  const send = el("button", {
    type: "submit", class: "button button-primary", testid: "modal-submit",
  }, "Submit");
  const close = () => dialog.close();
  const form = el("form", { novalidate: true },
    el("header", { class: "modal-head" },
      el("h2", { id: titleId, text: modal.title }),
      el("button", {
        type: "button", class: "icon-button", "aria-label": "Close", on: { click: close },
      }, icon("close"))),
    el("div", { class: "modal-body" }, fields.map(({ node }) => node), problem),
    el("footer", { class: "modal-foot" },
      el("button", { type: "button", class: "button button-secondary", testid: "modal-cancel",
        on: { click: close } }, "Cancel"),
      send));
  const dialog = el("dialog", { class: "modal", testid: "modal", "aria-labelledby": titleId },
    form);

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const wrong = fields.filter((field) => field.check() !== null);
    if (wrong.length > 0) {
      wrong[0].focus();
      return;
    }
    send.disabled = true;
    problem.textContent = "";
    try {
      await submit(async (attach) => ({
        custom_id: modal.custom_id,
        components: await Promise.all(fields.map((field) => field.submitted(attach))),
      }));
      dialog.close();
    } catch (error) {
      problem.textContent = error.message;
    } finally {
      send.disabled = false;
    }
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (before?.isConnected) before.focus({ preventScroll: true });
  });
  document.body.append(dialog);
  dialog.showModal();
  fields.find(({ focus }) => focus !== null)?.focus();
}

/**
 * Menus that open above a button: choices of one of several, and actions.
 *
 * @module
 */

/**
 * @typedef {object} Item
 * @property {string} label
 * @property {string} [note] at the right
 * @property {boolean} [checked] for choices
 * @property {string} [shape] a class of the mark before the label
 * @property {() => void} chosen
 */

/**
 * Opens and closes a menu at its button.
 *
 * @param {HTMLButtonElement} button
 * @param {HTMLElement} menu
 * @param {() => {title: string, items: Item[]}[]} parts asked for whenever it opens
 */
export function attachMenu(button, menu, parts) {
  button.setAttribute("aria-haspopup", "menu");
  button.setAttribute("aria-expanded", "false");
  menu.setAttribute("role", "menu");
  menu.hidden = true;

  const items = () => [...menu.querySelectorAll("button")];
  const close = (focus = false) => {
    if (menu.hidden) return;
    menu.hidden = true;
    button.setAttribute("aria-expanded", "false");
    if (focus) button.focus();
  };
  const fill = () => {
    menu.replaceChildren();
    for (const { title, items: list } of parts()) {
      const group = document.createElement("div");
      group.setAttribute("role", "group");
      group.setAttribute("aria-label", title);
      const head = document.createElement("div");
      head.className = "title";
      head.textContent = title;
      group.append(head);
      for (const item of list) group.append(row(item));
      menu.append(group);
    }
  };
  const row = (item) => {
    const choice = document.createElement("button");
    choice.type = "button";
    choice.tabIndex = -1;
    const one = item.checked !== undefined;
    choice.setAttribute("role", one ? "menuitemradio" : "menuitem");
    if (one) choice.setAttribute("aria-checked", String(item.checked));
    for (const [name, text] of [["mark " + (item.shape ?? ""), ""], ["label", item.label], ["note", item.note ?? ""]]) {
      const part = document.createElement("span");
      part.className = name.trim();
      part.textContent = text;
      choice.append(part);
    }
    choice.addEventListener("click", () => {
      item.chosen();
      if (one) {
        const at = items().indexOf(choice);
        fill();
        items()[at]?.focus();
      } else {
        close(true);
      }
    });
    return choice;
  };
  button.addEventListener("click", () => {
    if (!menu.hidden) {
      close(true);
      return;
    }
    fill();
    menu.hidden = false;
    button.setAttribute("aria-expanded", "true");
    (items().find((item) => item.getAttribute("aria-checked") === "true") ?? items()[0])?.focus();
  });
  menu.addEventListener("keydown", (event) => {
    const all = items();
    const at = all.indexOf(menu.getRootNode().activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to !== undefined) {
      all[(to + all.length) % all.length].focus();
    } else if (event.key === "Escape") {
      close(true);
    } else if (event.key === "Tab") {
      close();
      return;
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  });
  button.getRootNode().addEventListener("pointerdown", (event) => {
    const path = event.composedPath();
    if (!path.includes(menu) && !path.includes(button)) close();
  });
  return { close };
}

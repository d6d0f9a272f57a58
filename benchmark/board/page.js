"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const tables = all("table.board");
  const entries = all("table.board > tbody");
  const search = document.getElementById("search");
  const level = document.getElementById("level");
  const current = document.getElementById("current");
  const status = document.getElementById("status");
  const order = document.getElementById("order");
  const everything = document.getElementById("everything");

  const show = (button, open) => {
    button.setAttribute("aria-expanded", String(open));
    document.getElementById(button.getAttribute("aria-controls")).hidden = !open;
  };

  const value = (body, column) => body.querySelector(`.main > [data-column="${column}"]`).dataset.sort;

  // A missing value stands last whichever way the table is sorted: it is not the smallest.
  const compare = (left, right, numeric, sign) => {
    if (left === "" || right === "") return (left === "") - (right === "");
    return sign * (numeric ? Number(left) - Number(right) : left.localeCompare(right, "en"));
  };

  const sort = (table, column, direction) => {
    const head = all("thead th", table).find((one) => one.dataset.column === column);
    const numeric = head.dataset.kind === "number";
    const sign = direction === "ascending" ? 1 : -1;
    all("thead th", table).forEach((one) => one.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", direction);
    const bodies = all(":scope > tbody", table);
    bodies.sort((a, b) => compare(value(a, column), value(b, column), numeric, sign));
    table.append(...bodies);
  };

  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const body of entries) {
      const text = body.querySelector(".main").textContent.toLowerCase();
      const fits = words.every((word) => text.includes(word))
        && (level.value === "" || Number(body.dataset.level) >= Number(level.value))
        && !(current.checked && body.dataset.status !== "");
      body.hidden = !fits;
      count += fits;
    }
    for (const table of tables) {
      const section = table.closest("section");
      section.hidden = all(":scope > tbody", table).every((body) => body.hidden);
    }
    status.textContent = `${count} of ${entries.length} rows shown`;
  };

  all(".open").forEach((button) => {
    show(button, false);
    button.addEventListener("click", () => show(button, button.getAttribute("aria-expanded") !== "true"));
  });
  all("thead th .sort").forEach((button) => button.addEventListener("click", () => {
    const head = button.closest("th");
    const now = head.getAttribute("aria-sort");
    const turned = now === "ascending" ? "descending" : "ascending";
    const direction = now ? turned : head.dataset.first;
    sort(head.closest("table"), head.dataset.column, direction);
    status.textContent = `sorted by ${button.dataset.name}, ${direction}`;
  }));
  order.addEventListener("change", () => {
    const [column, direction] = order.value.split(" ");
    tables.forEach((table) => sort(table, column, direction));
  });
  search.addEventListener("input", filter);
  level.addEventListener("change", filter);
  current.addEventListener("change", filter);
  everything.addEventListener("click", () => {
    const open = everything.getAttribute("aria-pressed") !== "true";
    everything.setAttribute("aria-pressed", String(open));
    all(".open").forEach((button) => show(button, open));
  });
  window.addEventListener("beforeprint", () => document.querySelector(".rules").setAttribute("open", ""));
  document.querySelector(".tools").hidden = false;
  filter();
})();

"use strict";
/* Tables: a button in a heading sorts, what stands in `.filter` before a table hides rows. Without this script all is shown. */
(() => {
  document.documentElement.classList.add("live");

  const key = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.key === undefined ? cell.textContent.trim() : cell.dataset.key;
  };
  const compared = (a, b) => {
    const [x, y] = [Number(a), Number(b)];
    if (a !== "" && b !== "" && !Number.isNaN(x) && !Number.isNaN(y)) return x - y;
    return a.localeCompare(b, "en", { numeric: true });
  };

  for (const heading of document.querySelectorAll("th[aria-sort]")) {
    heading.querySelector("button").addEventListener("click", () => {
      const table = heading.closest("table");
      const direction = heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      for (const other of table.querySelectorAll("th[aria-sort]")) other.setAttribute("aria-sort", "none");
      heading.setAttribute("aria-sort", direction);
      const sign = direction === "ascending" ? 1 : -1;
      const rows = [...table.tBodies[0].rows].map((row) => [key(row, heading.cellIndex), row]);
      const empty = ([text]) => text === "" || text === "-";
      rows.sort((a, b) => empty(a) - empty(b) || sign * compared(a[0], b[0]));
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  }

  const said = (item) => {
    const keys = [...item.querySelectorAll("[data-key]")].map((cell) => cell.dataset.key);
    return [item.textContent, ...keys].join(" ").toLowerCase();
  };
  for (const filter of document.querySelectorAll(".filter")) {
    const items = [...document.getElementById(filter.dataset.of).querySelectorAll("[data-kind]")];
    const words = new Map(items.map((item) => [item, said(item)]));
    const shown = filter.querySelector("output");
    const apply = () => {
      const text = (filter.querySelector("input[type=search]")?.value || "").trim().toLowerCase();
      const boxes = [...filter.querySelectorAll("input[type=checkbox]")];
      const kinds = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
      let count = 0;
      for (const item of items) {
        const kind = !boxes.length || item.dataset.kind.split(" ").some((one) => kinds.has(one));
        item.hidden = !(kind && words.get(item).includes(text));
        count += !item.hidden;
      }
      if (shown) shown.textContent = `${count} of ${items.length} shown`;
    };
    filter.addEventListener("input", apply);
    apply();
  }

  const unfold = () => {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (target instanceof HTMLDetailsElement) target.open = true;
  };
  addEventListener("hashchange", unfold);
  unfold();
})();

// Requests table: filters apply at once, bulk selection. Without scripts the buttons remain.
(() => {
  const form = document.getElementById("bulk"), bar = document.getElementById("bulk-bar");
  const filters = document.getElementById("filters");
  document.getElementById("show").hidden = true;
  // A year that is still being typed is out of range.
  filters.addEventListener("change", () => { if (filters.checkValidity()) filters.requestSubmit(); });
  if (!bar) return;
  const all = document.getElementById("pick-all");
  let boxes = [...form.querySelectorAll("[name=ticket]")];
  let last = null;

  const showSelection = () => {
    const count = boxes.filter((box) => box.checked).length;
    document.getElementById("chosen").textContent = count || "";
    bar.hidden = !count;
    all.checked = count === boxes.length;
    all.indeterminate = count > 0 && !all.checked;
    for (const box of boxes) box.closest("tr").classList.toggle("picked", box.checked);
  };

  all.hidden = false;
  all.addEventListener("change", () => {
    for (const box of boxes) box.checked = all.checked;
    showSelection();
  });
  form.addEventListener("click", (event) => {
    if (event.target.matches("td.pick")) event.target.querySelector("input").click(); // the cell is the target of a finger
    const box = event.target.closest("[name=ticket]");
    if (!box) return;
    if (event.shiftKey && last) {
      const [from, to] = [boxes.indexOf(last), boxes.indexOf(box)].sort((a, b) => a - b);
      for (const between of boxes.slice(from, to + 1)) between.checked = box.checked;
    }
    last = box;
    showSelection();
  });
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("select, input:not([type=checkbox])")) return;
    const row = event.target.closest("tr");
    const at = boxes.findIndex((box) => box.closest("tr") === row);
    const isPlain = !event.ctrlKey && !event.metaKey && !event.altKey && !event.shiftKey;
    const key = isPlain && okno.shortcuts?.hasSingleKeys() !== false ? event.code : "";  // in every keyboard layout
    if (key === "KeyJ" || key === "KeyK") {
      const next = boxes[key === "KeyJ" ? at + 1 : Math.max(at - 1, 0)];
      next?.closest("tr").querySelector("a").focus();
    } else if (key === "KeyX" && at >= 0) {
      boxes[at].checked = !boxes[at].checked;
      showSelection();
    } else if (event.key === "Escape" && !bar.hidden && !document.querySelector("details.menu[open]")) {
      for (const box of boxes) box.checked = false;
      showSelection();
    }
  });
  addEventListener("okno:requests-drawn", () => {
    boxes = [...form.querySelectorAll("[name=ticket]")];
    showSelection();
  });
  addEventListener("pageshow", showSelection); // the browser may have restored the selection
  showSelection();
})();

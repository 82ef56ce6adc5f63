// A template being filled in: what one types is shown as the phone will show it. The server renders; the parts that
// it sends anew ([data-part]) take their places, the fields stay as they are.
(() => {
  const PAUSE = 150; // milliseconds after the last key

  const post = (address, values) => {
    const body = new URLSearchParams(values);
    body.set("csrfmiddlewaretoken", document.querySelector("[name=csrfmiddlewaretoken]").value);
    return fetch(address, { method: "POST", body, headers: { "HX-Request": "true" } });
  };

  const valuesIn = (root) => {
    const values = {};
    for (const field of root.querySelectorAll('textarea[name^="v."]')) values[field.name] = field.value;
    return values;
  };

  // Bring the parts under `root` to what `html` says. `true` where every part had its shown.
  const updateParts = (root, html) => {
    const fresh = new DOMParser().parseFromString(html, "text/html");
    for (const part of fresh.querySelectorAll("[data-part]")) {
      const shown = root.querySelector(`[data-part="${CSS.escape(part.dataset.part)}"]`);
      if (!shown) continue;
      if (shown.className !== part.className) shown.className = part.className;
      if (shown.innerHTML !== part.innerHTML) shown.innerHTML = part.innerHTML;
    }
    for (const field of fresh.querySelectorAll('textarea[name^="v."]')) {
      const shown = root.querySelector(`textarea[name="${CSS.escape(field.name)}"]`);
      if (!shown) continue;
      if (field.hasAttribute("aria-invalid")) shown.setAttribute("aria-invalid", "true");
      else shown.removeAttribute("aria-invalid");
    }
  };

  // A field has one line: Enter goes on to the next one. What was pasted with line breaks keeps them, to be seen.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !event.target.matches?.('textarea[name^="v."]')) return;
    if (event.ctrlKey || event.metaKey || event.target.hasAttribute("data-lines")) return;
    event.preventDefault();
    const fields = [...event.target.closest(".values").querySelectorAll("textarea")];
    const next = fields[fields.indexOf(event.target) + 1];
    (next || event.target.closest("form").querySelector("[data-go]:not([disabled])"))?.focus();
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-examples]");
    if (!button) return;
    const fields = [...button.form.querySelectorAll('textarea[name^="v."]')];
    for (const field of fields) if (!field.value) field.value = field.dataset.example;
    fields[0]?.dispatchEvent(new Event("input", { bubbles: true }));
  });
  for (const button of document.querySelectorAll("[data-examples]")) button.hidden = false;

  // Asks once after the last key, and drops an answer that a later one has overtaken.
  const latestOnly = (ask) => {
    let timer, number = 0;
    const now = async () => {
      clearTimeout(timer);
      const mine = ++number;
      try {
        await ask(() => mine === number);
      } catch (problem) { // without a connection the next key asks again
        if (!/fetch|network|load failed/i.test(problem.message)) throw problem;
      }
    };
    return { schedule: (pause = PAUSE) => { clearTimeout(timer); timer = setTimeout(now, pause); }, now, cancel: () => { clearTimeout(timer); number += 1; } };
  };

  // A form with data-preview-url keeps itself fresh.
  const form = document.querySelector("form[data-preview-url]");
  if (form) {
    const preview = latestOnly(async (isLast) => {
      const answer = await post(form.dataset.previewUrl, { ...Object.fromEntries(new FormData(form)), ...valuesIn(form) });
      if (answer.ok && !answer.redirected && isLast()) updateParts(form.parentElement, await answer.text());
    });
    form.addEventListener("input", (event) => { if (event.target.matches('textarea[name^="v."]')) preview.schedule(); });
    // Typed before this script was here, or kept by the browser over a reload.
    if ([...form.querySelectorAll('textarea[name^="v."]')].some((field) => field.value !== field.defaultValue)) preview.now();
  }

  window.okno = Object.assign(window.okno || {}, { post, valuesIn, updateParts, latestOnly });
})();

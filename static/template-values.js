// Fields of a template: the preview follows the typed values. The server renders, and the received parts ([data-part])
// replace the displayed ones; the fields themselves are kept.
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

  // Replace the parts under `root` with those in `html`.
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

  // Enter moves to the next field, because values have one line. Pasted line breaks are kept, so that they can be seen.
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

  // Wrap a request: `schedule` sends it once after the last key, and `isLast()` is false for an outdated response. Without
  // a connection, the request is repeated when it is back, or with the next key.
  const latestOnly = (ask) => {
    let timer, number = 0;
    const now = async () => {
      clearTimeout(timer);
      const mine = ++number;
      try {
        await ask(() => mine === number);
      } catch (problem) {
        if (!isUnanswered(problem)) throw problem;
        addEventListener("okno:connected", () => { if (mine === number) now(); }, { once: true });
      }
    };
    return { schedule: (pause = PAUSE) => { clearTimeout(timer); timer = setTimeout(now, pause); }, now, cancel: () => { clearTimeout(timer); number += 1; } };
  };
  const isUnanswered = ({ name, message }) => name === "TimeoutError" || /fetch|network|load failed/i.test(message);

  // A form with data-preview-url updates its preview.
  const form = document.querySelector("form[data-preview-url]");
  if (form) {
    const preview = latestOnly(async (isLast) => {
      const answer = await post(form.dataset.previewUrl, { ...Object.fromEntries(new FormData(form)), ...valuesIn(form) });
      if (answer.ok && !answer.redirected && isLast()) updateParts(form.parentElement, await answer.text());
    });
    form.addEventListener("input", (event) => { if (event.target.matches('textarea[name^="v."]')) preview.schedule(); });
    // The user typed before this script ran, or the browser restored the fields.
    if ([...form.querySelectorAll('textarea[name^="v."]')].some((field) => field.value !== field.defaultValue)) preview.now();
  }

  window.okno = Object.assign(window.okno || {}, { post, valuesIn, updateParts, latestOnly });
})();
